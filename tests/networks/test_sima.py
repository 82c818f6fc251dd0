import pytest
import torch

from crystalseg.networks.sima import SIDE, build_sima


def test_parameter_count_is_the_papers():
    assert sum(p.numel() for p in build_sima().parameters()) == 5_550_069


@pytest.mark.parametrize("levels", [2, 4])
def test_one_map_a_level_and_one_for_the_background(levels):
    with torch.inference_mode():
        y = build_sima(levels).eval()(torch.zeros(1, 3, SIDE, SIDE))
    assert y.shape == (1, levels + 1, SIDE, SIDE)
