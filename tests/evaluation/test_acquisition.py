import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.evaluation.acquisition import CRYSTALS, Seen, offers
from tests.conftest import discs


def seen(key, confidence, rows=8, columns=8, seed=0, level=128):
    """A grid of discs, 40 px apart, with the confidence that a function of row and column gives."""
    places = [(20 + 40 * r, 20 + 40 * c) for r in range(rows) for c in range(columns)]
    labels = discs((40 * rows, 40 * columns), [(y, x, 12) for y, x in places])
    noise = np.random.default_rng(seed).normal(level, 10, (*labels.shape, 1)).clip(0, 255).astype(np.uint8)
    return Seen(key, noise.repeat(3, axis=2), labels, np.array([confidence(y, x) for y, x in places], np.float32))


def test_the_corner_where_crystals_are_doubtful_comes_first():
    found = offers([seen("a", lambda y, x: 0.2 if y > 160 and x > 160 else 0.95)])
    top, left, bottom, right = found[0].box
    assert (bottom, right) == (320, 320)
    assert min(top, left) >= 100
    assert found[0].wrong > 0.5 * found[0].crystals


def test_fields_hold_about_twenty_crystals_and_cost_minutes():
    for offer in offers([seen("a", lambda y, x: 0.5)]):
        assert CRYSTALS / 2 <= offer.crystals <= 2 * CRYSTALS
        #  hand-worked: 3 s for each, and half of them wrong at five clicks of 4 s
        assert offer.minutes == pytest.approx((3 * offer.crystals + 20 * offer.crystals / 2) / 60)


def test_of_two_images_as_sure_the_one_unlike_what_is_labelled_comes_first():
    dark, bright = (seen(key, lambda y, x: 0.5, level=level) for key, level in (("dark", 60), ("bright", 180)))
    assert offers([dark, bright], [dark.pixels])[0].key == "bright"
    assert offers([dark, bright], [bright.pixels])[0].key == "dark"


def test_nothing_is_offered_where_nothing_was_found():
    empty = Seen("a", np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.int32), np.zeros(0, np.float32))
    assert offers([empty]) == []
    assert offers([]) == []


@given(rows=st.integers(3, 9), columns=st.integers(3, 9), most=st.integers(1, 8))
def test_fields_of_an_image_lie_in_it_and_do_not_overlap(rows, columns, most):
    image = seen("a", lambda y, x: (x % 97) / 97, rows, columns)
    found = offers([image], most=most)
    assert 1 <= len(found) <= most
    hits = np.zeros(image.labels.shape, int)
    for offer in found:
        top, left, bottom, right = offer.box
        hits[top:bottom, left:right] += 1
        assert 0 <= top < bottom <= hits.shape[0]
        assert 0 <= left < right <= hits.shape[1]
    assert hits.max() == 1
