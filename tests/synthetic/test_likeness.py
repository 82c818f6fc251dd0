import numpy as np
import pytest
from skimage.measure import label

from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.likeness import likeness_of
from crystalseg.synthetic.structure import Structure

GROUND, BRIGHTEST = 40, 240


def discs(shape=(200, 240), every=40, radius=10):
    """Discs of their own brightness on a plain ground, their labels, and that all of it is known."""
    y, x = np.indices(shape)
    inside = (y % every - every // 2) ** 2 + (x % every - every // 2) ** 2 <= radius**2
    labels = np.where(inside, y // every * (shape[1] // every) + x // every + 1, 0).astype(np.int32)
    grey = np.where(inside, 100 + labels * (BRIGHTEST - 100) // labels.max(), GROUND)
    return grey[..., None].repeat(3, axis=2).astype(np.uint8), labels, np.ones(shape, bool)


def test_what_is_known_of_discs_is_what_they_were_made_with():
    image, labels, valid = discs()
    likeness = likeness_of([(image, labels, valid)])
    assert len(likeness.pieces) == labels.max() == 30
    assert likeness.coverage == np.count_nonzero(labels) / labels.size
    assert likeness.touching == 0
    (ground,) = likeness.grounds
    assert (ground == GROUND).all()
    assert likeness.structure.diameter == pytest.approx(20, rel=0.02)


def test_those_that_touch_are_counted():
    image, labels, valid = discs()
    pairs = np.roll(labels, -18, axis=1)  # a second row of discs, 2 px from the first
    both = np.where(labels > 0, labels, np.where(pairs > 0, pairs + labels.max(), 0)).astype(np.int32)
    assert likeness_of([(image, both, valid)]).touching == pytest.approx(1, abs=0.2)


def test_only_crystals_known_whole_are_cut_out():
    image, labels, valid = discs()
    valid[:, 100:] = False  # through the middle of the third column
    likeness = likeness_of([(image, labels, valid)])
    assert len(likeness.pieces) == 10
    assert likeness.coverage == np.count_nonzero(labels[valid]) / np.count_nonzero(valid)


def test_labels_are_where_crystals_were_pasted():
    likeness = likeness_of([discs()])
    for seed in range(5):
        image, labels = likeness.draw(np.random.default_rng(seed), (160, 180))
        assert image.shape == (160, 180, 3)
        assert image.dtype == np.uint8
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) == set(range(labels.max() + 1))
        bright = image[..., 0] > (GROUND + 100) / 2
        assert (bright == (labels > 0)).mean() > 0.98  # soft edges
        for number in range(1, labels.max() + 1):
            assert label(labels == number).max() == 1
        assert 0.4 * likeness.coverage < (labels > 0).mean() < 1.8 * likeness.coverage


def test_the_same_seed_gives_the_same_image():
    likeness = likeness_of([discs()])
    first, again, other = (likeness.draw(np.random.default_rng(seed), (96, 96)) for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], other[0])


def test_crystals_that_fill_the_area_lend_their_texture_to_a_polycrystal():
    shown = draw(3, (300, 300), Structure("polycrystal", diameter=40, boundary=3))
    likeness = likeness_of([(shown.image, shown.labels, np.ones_like(shown.labels, bool))])
    assert likeness.coverage > 0.8
    image, labels = likeness.draw(np.random.default_rng(0), (256, 256))
    assert (labels > 0).mean() == pytest.approx(likeness.coverage, abs=0.1)
    per_crystal = [image[labels == number].mean() for number in range(1, labels.max() + 1)]
    lent = [piece.pixels[piece.mask].mean() for piece in likeness.pieces]
    assert min(lent) - 15 < min(per_crystal)
    assert max(per_crystal) < max(lent) + 15


def test_of_too_few_crystals_there_is_no_likeness():
    image, labels, valid = discs()
    assert likeness_of([(image, np.where(labels < 8, labels, 0).astype(np.int32), valid)]) is None
    assert likeness_of([(image, np.where(labels < 9, labels, 0).astype(np.int32), valid)]) is not None
    assert likeness_of([(image, np.zeros_like(labels), valid)]) is None
