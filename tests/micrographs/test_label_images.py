import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation, mean
from skimage.measure import label

from crystalseg.micrographs.labels import areas, bounding_box, keep_labels, means, pieces, renumbered, tidy
from tests.conftest import discs, squares

SMALL_LABELS = arrays(np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3))


@given(SMALL_LABELS)
def test_pieces_are_those_of_scikit_image(labels):
    np.testing.assert_array_equal(pieces(labels), label(labels, connectivity=1, background=0))


def test_pieces_of_large_crystals_and_of_spirals():
    spiral = np.zeros((41, 41), np.int32)
    for k in range(0, 20, 2):
        spiral[k : 41 - k, k : 41 - k] = 1 + (k // 2) % 2
    for labels in (discs((90, 120), [(40, 40, 30), (45, 60, 30), (40, 50, 9)]), squares(60, 7, (2, 3)), spiral):
        np.testing.assert_array_equal(pieces(labels), label(labels, connectivity=1, background=0))


def test_what_is_tidied_is_in_one_piece_without_holes():
    labels = discs((60, 80), [(30, 30, 20), (30, 30, 5)])
    labels[labels == 2] = 0  # a hole
    labels[10:50, 30] = 0  # a cut, which leaves a bridge on neither side of the hole
    labels[2:4, 70:72] = 5  # dirt
    assert tidy(labels, 15).max() == 2
    assert (tidy(labels, 1) > 0).sum() == (labels > 0).sum()


def tidied_slowly(labels, min_area):
    found = label(labels, connectivity=1, background=0)
    kept = [n for n in range(1, found.max() + 1) if (found == n).sum() >= min_area]
    found = sum(((found == n) * k for k, n in enumerate(kept, start=1)), np.zeros_like(found))
    ground = label(found == 0, connectivity=1)
    for hole in (ground == n for n in range(1, ground.max() + 1)):
        around = np.unique(np.pad(found, 1, constant_values=-1)[binary_dilation(np.pad(hole, 1)) & ~np.pad(hole, 1)])
        if len(around) == 1 and around[0] > 0:
            found[hole] = around[0]
    return found


@given(SMALL_LABELS, st.integers(1, 6))
def test_tidying_is_what_its_words_say(labels, min_area):
    np.testing.assert_array_equal(tidy(labels, min_area), tidied_slowly(labels, min_area))


@given(SMALL_LABELS, st.integers(0, 6))
def test_areas_are_those_that_numpy_counts(labels, least):
    np.testing.assert_array_equal(areas(labels, least), np.bincount(labels.ravel(), minlength=least + 1))


@given(SMALL_LABELS, st.integers(0, 2**32))
def test_means_are_those_that_scipy_takes(labels, seed):
    values = np.random.default_rng(seed).normal(size=labels.shape)
    numbers = np.arange(1, labels.max() + 1)
    there = np.isin(numbers, labels)
    found = means(labels, values)
    np.testing.assert_allclose(found[there], mean(values, labels, numbers[there]), rtol=1e-12, atol=1e-12)
    assert found[~there].tolist() == [0] * np.count_nonzero(~there)


@given(
    SMALL_LABELS, st.lists(st.integers(0, 9), min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3)
)
def test_labels_get_the_numbers_that_are_asked_for(labels, numbers, keep):
    np.testing.assert_array_equal(renumbered(labels, np.array(numbers)), np.array([0, *numbers])[labels])
    kept = keep_labels(labels, np.array(keep))
    assert kept.max() <= sum(keep)
    np.testing.assert_array_equal(kept > 0, np.isin(labels, np.flatnonzero(keep) + 1))
    assert [set(labels[kept == n]) for n in np.unique(kept[kept > 0])] == [{n} for n in np.unique(labels[kept > 0])]


def test_what_is_no_label_stays_none():
    labels = np.array([[-2, 0, 1, 2]])
    assert renumbered(labels, np.array([7, 5])).tolist() == [[0, 0, 7, 5]]
    assert renumbered(labels[:, :2], np.zeros(0, int)).tolist() == [[0, 0]]


def test_a_bounding_box_ends_with_the_image():
    mask = np.zeros((20, 30), bool)
    mask[5:8, 2:4] = mask[6, 25] = True
    assert bounding_box(mask) == (slice(5, 8), slice(2, 26))
    assert bounding_box(mask, 3) == (slice(2, 11), slice(0, 29))
    assert bounding_box(mask, 50) == (slice(0, 20), slice(0, 30))
