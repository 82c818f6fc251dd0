"""Effort: all of an image is seen coarsely, only what is critical finely."""

import numpy as np
import pytest

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.effort import EFFORTS, divided
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.proposals import critical
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Settings, SettingsError
from crystalseg.segmentation.tiling import looks
from tests.conftest import discs


def test_what_is_seen_whole_and_what_in_places_by_hand():
    quick, balanced, thorough = EFFORTS.values()
    octaves = (0.125, 0.25, 0.5, 1.0)
    assert divided(octaves, quick, True) == ((0.125, 0.25), (0.5, 1.0))
    assert divided(octaves, balanced, True) == ((0.125, 0.25), (0.5, 1.0, 2.0))
    assert divided(octaves, balanced, False) == ((0.125, 0.25), (0.5, 1.0))
    assert divided(octaves, thorough, True) == (octaves, (2.0,))
    assert divided((0.5, 1.0), quick, True) == ((0.5,), (1.0,))  # something must be seen whole
    assert divided((1.0,), balanced, True) == ((1.0,), (2.0,))


def test_the_user_s_own_factors_are_not_enlarged():
    assert Settings().steps((512, 512)) == ((0.25, 0.5, 1.0), (2.0,))
    assert Settings(scales=Scales((0.2, 0.8)), effort="balanced").steps((512, 512)) == ((0.2,), (0.8,))


def test_doubtful_and_small_crystals_are_critical_by_hand():
    """0 0 1 1 1 1
       0 0 1 1 1 1    1: 2 × 4 px, √8 = 2.83 px; 2: 1 × 2 px, √2; 3: 4 px, 2 px
       2 2 0 0 3 3
       0 0 0 0 3 3 """  # fmt: skip
    labels = np.zeros((4, 6), np.int32)
    labels[:2, 2:], labels[2, :2], labels[2:, 4:] = 1, 2, 3
    balanced = EFFORTS["balanced"]  # doubt below 0.5, small below 20 px
    sure = np.array([0.9, 0.9, 0.9])
    assert not critical(labels, sure, 20.0, balanced)[labels != 2].any()  # 56.6, 28.3 and 40 px at that factor: none
    assert not critical(labels, sure, 20.0, balanced).any()
    np.testing.assert_array_equal(
        critical(labels, sure, 8.0, balanced), (labels == 2) | (labels == 3)
    )  # 22.6, 11.3, 16
    np.testing.assert_array_equal(critical(labels, np.array([0.4, 0.9, 0.6]), 20.0, balanced), labels == 1)
    assert not critical(np.zeros((3, 3), np.int32), np.zeros(0), 1.0, balanced).any()


def test_looks_are_the_tiles_that_are_computed(random_models):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 500, 3)).astype(np.uint8)
    seen = []
    Pyramid(random_models, pixels).flow("folded", 0.5, report=seen.append)
    assert looks((300, 500), [0.5]) == sum(seen)
    assert looks((300, 500), [0.5, 1.0]) > 2 * sum(seen)


@pytest.mark.parametrize("name", ["sima-plus", "sima-plus/quick", "sima-plus@cellpose", "sima-plus@cellpose/balanced"])
def test_a_method_s_name_says_its_effort(name):
    assert Settings.called(name).short_method == name
    assert Settings.called(name).full_method.replace("@folded", "") == name
    assert Settings.called(name, network="folded:our grains:2").full_method.count("@") == 1


def test_a_path_is_no_effort():
    for name in ("cellpose-package:/models/quick/cyto3", "hub:/models/sam/quick", "hub-prompted:C:\\sam@2/quick"):
        assert Settings.called(name) == Settings(name)
    assert Settings("hub-prompted:/sam", effort="quick").full_method == "hub-prompted:/sam@folded/quick"
    assert Settings.called("watershed").full_method == "watershed"
    assert Settings("watershed", effort="quick").full_method == "watershed"  # it has no choice


@pytest.mark.parametrize("effort", ["fast", "", None, 3, ["quick"]])
def test_an_unknown_effort_is_refused(effort):
    with pytest.raises(SettingsError, match="quick, balanced, thorough"):
        Settings(effort=effort)


def test_less_effort_sees_small_crystals_finely_and_finds_the_large_one_as_well():
    middles = [(250, 230), *((430 + 26 * i, 700 + 26 * j) for i in range(4) for j in range(6))]
    labels = discs((560, 900), [(*middles[0], 190), *((*middle, 10) for middle in middles[1:])])
    noise = np.random.default_rng(1).normal(0, 6, labels.shape)
    shade = np.where(labels > 0, 190, 60) + noise
    pixels = np.repeat(shade.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    models, found = load_models(device="cpu"), {}
    for effort in EFFORTS:
        found[effort] = segment(Micrograph(pixels, "discs", ""), Settings(effort=effort), models)
        right = [(found[effort].labels == found[effort].labels[y, x])[labels == k + 1].mean() > 0.8
                 for k, (y, x) in enumerate(middles)]  # fmt: skip
        assert np.mean(right) > 0.9, effort
    for effort in ("quick", "balanced"):
        finest = next(scale for scale in found[effort].scales if scale.factor == 1)
        assert 0 < finest.covered.mean() < 0.7
        assert finest.covered[440:500, 710:820].all()  # the small ones
        assert not finest.covered[:200, :200].any()
    assert all(scale.covered.all() for scale in found["thorough"].scales if scale.factor <= 1)
