import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.micrographs.labels import crystal_lengths
from crystalseg.segmentation.attention import levels_from_labels, place, regroup
from crystalseg.segmentation.scales import SIZE_THRESHOLDS

T = SIZE_THRESHOLDS


def test_length_is_the_longer_side_of_the_bounding_box():
    labels = np.zeros((20, 30), np.int32)
    labels[2:5, 4:11] = 1  # 3 high, 7 wide
    labels[10:19, 20:22] = 3  # 9 high; number 2 is missing
    assert crystal_lengths(labels).tolist() == [0, 7, 0, 9]


def test_levels_by_hand():
    # side 80: 51 px = 63.75 % -> level 1; 40 px = 50 % -> level 2 (a limit belongs below); 11 px = 13.75 % -> level 3;
    # 10 px = 12.5 % -> level 4
    labels = np.zeros((80, 60), np.int32)
    labels[0:51, 0:5] = 1
    labels[0:40, 10:15] = 2
    labels[60:71, 20:22] = 3
    labels[60:70, 30:32] = 4
    maps = levels_from_labels(labels, T)
    assert maps.shape == (5, 80, 60)
    for crystal in (1, 2, 3, 4):
        level = maps[:, labels == crystal].all(axis=1)
        assert level.tolist() == [k == crystal - 1 for k in range(5)]
    assert (maps[4] == (labels == 0)).all()


@given(st.integers(0, 2**32))
def test_every_pixel_is_in_exactly_one_level(seed):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 6, (5, 7)), np.ones((4, 4), int)).astype(np.int32)
    assert (levels_from_labels(labels, T).sum(axis=0) == 1).all()


def test_equal_thresholds_regroup_to_the_same_maps():
    maps = np.random.default_rng(0).random((5, 4, 4)).astype(np.float32)
    assert regroup(maps, T, T) is maps


def test_levels_merge_where_the_wanted_thresholds_are_coarser():
    maps = np.stack([np.full((2, 2), v, np.float32) for v in (0.1, 0.2, 0.3, 0.4, 0.9)])
    # 100–25 holds the trained 100–50 and 50–25; up to 25 holds the other two
    np.testing.assert_allclose(regroup(maps, T, (100, 25))[:, 0, 0], (0.3, 0.7, 0.9), atol=1e-6)


def test_levels_split_by_their_logarithmic_range():
    maps = np.zeros((5, 1, 1), np.float32)
    maps[3] = 0.8  # up to 12.5 %, counted as 3.125–12.5: one octave above and one below 6.25
    finer = regroup(maps, T, (100, 50, 25, 12.5, 6.25))
    np.testing.assert_allclose(finer[:, 0, 0], (0, 0, 0, 0.4, 0.4, 0), atol=1e-6)


@given(st.lists(st.floats(1, 99), min_size=1, max_size=6, unique=True))
def test_regrouping_keeps_the_total(limits):
    wanted = (100.0, *sorted(limits, reverse=True))
    maps = np.full((5, 1, 1), 0.1, np.float32)
    assert regroup(maps, T, wanted)[:-1].sum() == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("shape", "size"), [((1000, 500), (224, 112)), ((100, 2000), (11, 224)), ((224, 224), (224, 224))]
)
def test_an_image_is_placed_unsqueezed(shape, size):
    assert place(shape, 224)[1] == size
