import numpy as np
import pytest
from skimage.measure import label

from crystalseg.synthetic import inscriptions
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.inscriptions import GROUNDS, draw_ground, inscribe

DRAWN = draw(8, (200, 260))


def test_the_same_seed_writes_the_same():
    first, second = (inscribe(DRAWN.image, DRAWN.labels, np.random.default_rng(3)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_written_over_crystals_changes_the_picture_and_no_label():
    before = DRAWN.image.copy()
    for write in ("_letters", "_arrow", "_scale_bar", "_frame"):
        for seed in range(10):
            image = DRAWN.image.copy()
            getattr(inscriptions, write)(image, np.random.default_rng(seed))
            if not np.array_equal(image, DRAWN.image):
                break
        else:
            pytest.fail(f"{write} never shows")
    np.testing.assert_array_equal(DRAWN.image, before)


@pytest.mark.parametrize("seed", range(40))
def test_labels_stay_but_under_what_covers_them(seed):
    image, labels = inscribe(DRAWN.image, DRAWN.labels, np.random.default_rng(seed))
    assert image.shape == DRAWN.image.shape
    assert image.dtype == np.uint8
    assert labels.dtype == np.int32
    hidden = (labels == 0) & (DRAWN.labels > 0)
    if not hidden.any():
        np.testing.assert_array_equal(labels, DRAWN.labels)
        return
    # only bars and insets hide crystals, which lie at the image's edges
    rows, columns = np.nonzero(hidden)
    height, width = labels.shape
    assert min(rows.min(), columns.min(), height - 1 - rows.max(), width - 1 - columns.max()) < 0.4 * height
    # a label is one piece of one crystal
    for number in range(1, labels.max() + 1):
        piece = labels == number
        assert len(np.unique(DRAWN.labels[piece])) == 1
        assert label(piece, connectivity=1).max() == 1


def test_bars_are_of_any_tone_at_any_edge():
    tones, edges = set(), set()
    for seed in range(60):
        image = np.full((120, 150, 3), 77, np.uint8)
        covered = np.zeros((120, 150), bool)
        inscriptions._data_bar(image, covered, np.random.default_rng(seed))
        assert 0.04 < covered.mean() < 0.2
        assert (image[~covered] == 77).all()
        rows, columns = np.nonzero(covered)
        edges.add((rows.min() == 0, rows.max() == 119, columns.min() == 0, columns.max() == 149))
        tones.add(int(np.median(image[covered])))
    assert len(edges) == 4
    assert {0, 255} < tones


def test_a_ground_is_a_picture_without_a_crystal():
    seen = [draw_ground(np.random.default_rng(seed), (90, 140)) for seed in range(30)]
    assert all(image.shape == (90, 140, 3) and image.dtype == np.uint8 for image in seen)
    assert len(GROUNDS) <= len({image.tobytes() for image in seen})
    _, labels = inscribe(seen[0], np.zeros((90, 140), np.int32), np.random.default_rng(0))
    assert not labels.any()
