import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.micrographs.labels import tidy
from crystalseg.segmentation.masks import LabelMasks, PackedMasks, nearest, overlaps
from tests.conftest import discs


def random_labels(seed, shape, most=9):
    rng = np.random.default_rng(seed)
    circles = np.column_stack((rng.uniform(0, max(shape), (most, 2)), rng.uniform(2, 0.3 * max(shape), most)))
    return tidy(discs(shape, circles.tolist()), 4)


def packed(labels):
    return PackedMasks.of(labels, range(1, int(labels.max()) + 1), labels.shape)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(9, 70), st.integers(9, 70))
def test_packed_masks_are_those_of_the_labels(seed, height, width):
    labels = random_labels(seed, (height, width))
    ours, plain = packed(labels), LabelMasks(labels)
    assert (ours.painted() == labels).all()
    assert (ours.boxes == plain.boxes).all()
    for k in range(int(labels.max())):
        assert (ours.mask(k) == plain.mask(k)).all()
    # numbered by first pixels, as `tidy` does
    assert ours.ordered().tolist() == list(range(len(ours.boxes)))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(9, 40), st.integers(9, 40), st.integers(1, 3))
def test_overlaps_are_counted_pixel_by_pixel(seed, height, width, factor):
    coarse = random_labels(seed, (height, width))
    fine = random_labels(seed + 1, (factor * height + 1, factor * width - 1))
    shown = cv2.resize(fine.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST).astype(int)
    plain = np.zeros((coarse.max() + 1, fine.max() + 1), int)
    np.add.at(plain, (coarse.ravel(), shown.ravel()), 1)
    for masks in (LabelMasks(fine), packed(fine)):
        both, areas = overlaps(coarse, masks)
        assert (both.toarray() == plain[1:, 1:]).all()
        assert (areas == plain[:, 1:].sum(axis=0)).all()


def test_masks_of_parts_are_joined_and_put_in_order():
    labels = discs((60, 90), [(15, 70, 9), (20, 20, 12), (45, 50, 10)])
    left, right = labels.copy(), labels.copy()
    left[:, 45:], right[:, :45] = 0, 0
    right[45 - 10 : 56, 45:] = 0
    whole = discs((60, 90), [(20, 20, 12), (15, 70, 9)])
    parts = [
        PackedMasks.of(tidy(left)[:, :45], [1], (60, 90)),
        PackedMasks.of(tidy(right)[:, 45:], [1], (60, 90), (0, 45)),
    ]
    joined = PackedMasks.joined(parts)
    assert joined.ordered().tolist() == [1, 0]  # the right one begins higher up
    again = joined.taken(joined.ordered())
    assert (again.painted() == np.array([0, 2, 1])[whole]).all()


def test_no_masks():
    nothing = packed(np.zeros((5, 7), np.int32))
    assert nothing.painted().shape == (5, 7)
    both, areas = overlaps(np.ones((5, 7), np.int32), nothing)
    assert both.shape == (1, 0)
    assert len(areas) == 0


@pytest.mark.parametrize("shape", [(7, 11), (33, 20), (100, 64)])
def test_nearest_is_opencvs(shape):
    labels = random_labels(3, (47, 31))
    theirs = cv2.resize(labels.astype(np.float32), shape[::-1], interpolation=cv2.INTER_NEAREST)
    assert (nearest(labels, shape) == theirs).all()
