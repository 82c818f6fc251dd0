import pytest
import torch

from crystalseg.training.losses import mean_of_valid


def test_the_mean_is_over_maps_and_valid_pixels():
    loss = torch.tensor([[[[1.0, 2.0]], [[3.0, 100.0]]]])
    assert mean_of_valid(loss, torch.tensor([[[[1.0, 0.0]]]])).item() == pytest.approx(2.0)
    assert mean_of_valid(loss, torch.zeros(1, 1, 1, 2)).item() == 0.0
