import torch

from crystalseg.networks.boundary import build_boundary


def test_parameters_and_shapes():
    network = build_boundary().eval()
    assert sum(p.numel() for p in network.parameters()) == 5_549_634
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 96, 64)).shape == (1, 2, 96, 64)
