import pytest
import torch

from crystalseg.networks.clicks import CHANNELS, SIDE, TAKEN, ClickNet


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return ClickNet().eval()


def windows(levels):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, levels, CHANNELS, SIDE, SIDE, generator=generator)
    x[:, :, 7:] = 0
    x[:, :, 7, SIDE // 2, SIDE // 2] = 1
    return x


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_any_number_of_resolutions(levels, network):
    with torch.inference_mode():
        mask, quality, alike = network(windows(levels))
    assert mask.shape == (2, levels, SIDE, SIDE)
    assert quality.shape == (2, levels)
    assert alike.shape == (2, levels, 100)
    assert alike.abs().max() <= 1 + 1e-5
    # the clicked token is like itself: row 5, column 5 of ten
    assert (alike[:, :, 55] > 1 - 1e-5).all()


def test_it_has_as_many_parameters_as_it_says(network):
    assert sum(p.numel() for p in network.parameters()) == 700_614


def test_a_resolution_is_helped_by_its_neighbours_and_by_no_other(network):
    x = windows(4)
    changed = x.clone()
    changed[:, 3] = changed[:, 3].flip(3)
    with torch.inference_mode():
        before, after = network(x)[0], network(changed)[0]
    differs = (before - after).abs().amax(dim=(0, 2, 3))
    assert (differs[2:] > 1e-6).all()
    assert (differs[:2] == 0).all()
    alone = ClickNet(helped=False).eval()
    alone.load_state_dict(network.state_dict())
    with torch.inference_mode():
        differs = (alone(x)[0] - alone(changed)[0]).abs().amax(dim=(0, 2, 3))
    assert differs[3] > 1e-4
    assert (differs[:3] == 0).all()


def test_the_tokens_most_like_the_clicked_ones_are_taken(network):
    tokens = torch.arange(3 * 100 * 96, dtype=torch.float32).reshape(1, 3, 100, 96)
    alike = torch.linspace(-1, 1, 100).expand(1, 3, 100)
    with torch.inference_mode():
        helpers = network._helpers(tokens, alike)
        assert helpers.shape == (3, 2 * TAKEN, 96)
        # the middle resolution: the last tokens of the finer one, then of the coarser one, each by its likeness
        for place, level, kind in ((0, 2, 0), (TAKEN, 0, 1)):
            wanted = tokens[0, level, 99] * torch.sigmoid(torch.tensor(1.0)) + network.kind[kind]
            torch.testing.assert_close(helpers[1, place], wanted)
        assert torch.equal(helpers[0, TAKEN:], network.kind[1].expand(TAKEN, 96))  # nothing is coarser
