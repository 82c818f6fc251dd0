import numpy as np
import pytest

from crystalseg.micrographs.annotations import (
    annotation,
    distinct,
    inside,
    middle,
    packed,
    read_annotations,
    unpacked,
)
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.pairs import write_pair
from tests.conftest import discs

LABELS = discs((60, 80), [(15, 15, 8), (15, 60, 8), (45, 40, 8)])


def micrograph(labels=LABELS, name="steel", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (*labels.shape, 3), np.uint8)
    return Micrograph(pixels, name, "0" * 64)


def area(top, left, bottom, right, shape=LABELS.shape):
    checked = np.zeros(shape, bool)
    checked[top:bottom, left:right] = True
    return checked


def test_a_crystal_counts_where_half_of_it_is_checked():
    #  the first disc wholly, the second by its left 40 %, the third not
    found = inside(LABELS, area(0, 0, 30, 58))
    assert found.max() == 1
    assert (found[LABELS == 1] == 1).all()
    assert inside(LABELS, area(0, 0, 30, 62)).max() == 2


def test_the_middle_of_what_was_checked():
    one = annotation(micrograph(), LABELS, area(0, 10, 40, 62))
    part = middle(one, 20)
    np.testing.assert_array_equal(part.labels, LABELS[10:30, 26:46])
    np.testing.assert_array_equal(part.micrograph.pixels, one.micrograph.pixels[10:30, 26:46])
    assert part.checked.all()
    assert middle(one, 200).labels.shape == (40, 52)


def test_everything_is_checked_if_nothing_is_said():
    one = annotation(micrograph(), LABELS)
    assert (one.crystals, one.share) == (3, 1.0)
    part = annotation(micrograph(), LABELS, area(0, 0, 30, 40))
    assert (part.crystals, part.share) == (1, 0.25)


@pytest.mark.parametrize(
    ("labels", "checked", "words"),
    [
        (LABELS[:50], None, "the image has 80×60 px, but its labels have 80×50"),
        (np.zeros_like(LABELS), None, "is empty"),
        (np.ones_like(LABELS), None, "one label covers everything"),
        (LABELS, area(0, 0, 4, 4), "no crystal lies in the checked area"),
        (LABELS, np.zeros(LABELS.shape, bool), "no area is marked as checked"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_with_the_remedy(labels, checked, words):
    with pytest.raises(MicrographError, match=words):
        annotation(micrograph(), labels, checked)


def test_the_same_image_under_two_names_is_refused():
    pair = [annotation(micrograph(name=name), LABELS) for name in ("one", "two")]
    with pytest.raises(MicrographError, match="two: the same image as one"):
        distinct(pair)
    assert distinct(pair[:1]) == pair[:1]


def test_packed_and_unpacked():
    one = annotation(micrograph(), LABELS, area(3, 1, 30, 41))
    again = unpacked(one.micrograph, packed(one))
    np.testing.assert_array_equal(again.labels, one.labels)
    np.testing.assert_array_equal(again.checked, one.checked)
    assert packed(one) == packed(again)


def test_a_folder_with_one_image_checked_in_part(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write_pair(tmp_path, name, micrograph(seed=seed).pixels, LABELS)
    from PIL import Image

    Image.fromarray(area(0, 0, 30, 40).astype(np.uint8) * 255).save(tmp_path / "b_checked.png")
    whole, part = read_annotations(tmp_path)
    assert (whole.crystals, part.crystals) == (3, 1)
