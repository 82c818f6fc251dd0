import pytest
import torch

from crystalseg.networks.sa2 import LocalAttention, SA2Net, ScaleAwareAttention
from crystalseg.networks.sima import build_sima
from crystalseg.training.losses import supervised_deeply


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SA2Net(5).eval()


@pytest.mark.parametrize("shape", [(32, 64), (224, 224)])
def test_it_gives_a_map_of_every_output(shape, network):
    with torch.inference_mode():
        assert network(torch.rand(2, 3, *shape)).shape == (2, 5, *shape)


def test_it_has_as_many_parameters_as_the_network_it_is_compared_with():
    ours, theirs = (sum(p.numel() for p in n.parameters()) for n in (SA2Net(5), build_sima()))
    assert ours == 5_508_164
    assert ours == pytest.approx(theirs, rel=0.01)


def test_the_finest_stage_is_the_result(network):
    image = torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        stages, result = network.stages(image), network(image)
    assert [tuple(stage.shape) for stage in stages] == [(1, 5, 32, 64)] * 4
    torch.testing.assert_close(stages[0], result)


def test_every_part_learns():
    torch.manual_seed(0)
    network = SA2Net(2).train()
    torch.stack([stage.square().mean() for stage in network.stages(torch.rand(2, 3, 64, 64))]).sum().backward()
    # a bias that batch norm takes away again learns nothing
    weights = [p for name, p in network.named_parameters() if name.endswith("weight")]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_local_attention_by_hand():
    """One channel, widened to four copies: what 3 px filters find, times the sigmoid of what 5 px filters find."""
    attend = LocalAttention(1)
    for convolution in attend.children():
        torch.nn.init.ones_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    image = torch.zeros(1, 1, 7, 7)
    image[..., 3, 3] = 2.0
    found = attend(image)[0, 0]
    gate = torch.sigmoid(torch.tensor(2.0))
    assert found[3, 3].item() == pytest.approx(4 * 2.0 * gate.item())
    assert found[2, 4].item() == pytest.approx(4 * 2.0 * gate.item())
    assert found[1, 3].item() == 0  # the 5 px filter alone sees nothing


def test_each_level_sees_all_others():
    torch.manual_seed(0)
    attention = ScaleAwareAttention(8, [8, 16, 32, 64]).eval()
    levels = [torch.rand(1, 8, side, side) for side in (64, 32, 16, 8)]
    with torch.inference_mode():
        before = attention(levels)
        assert [tuple(x.shape) for x in before] == [(1, 8, 64, 64), (1, 16, 32, 32), (1, 32, 16, 16), (1, 64, 8, 8)]
        levels[3] = levels[3] + 1
        after = attention(levels)
    assert all((a - b).abs().max() > 0 for a, b in zip(before, after, strict=True))


def test_its_loss_is_the_mean_of_all_stages_only_while_it_learns(network):
    image, target = torch.rand(2, 3, 32, 32), torch.rand(2, 5, 32, 32)

    def loss_of(said, image, target):
        return (said(image) - target).square().mean()

    deep = supervised_deeply(loss_of)
    with torch.inference_mode():
        assert deep(network, image, target) == loss_of(network, image, target)
        network.train()
        for module in network.modules():  # the statistics of this batch must not move
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        stages = [(stage - target).square().mean().item() for stage in network.stages(image)]
        assert deep(network, image, target).item() == pytest.approx(sum(stages) / 4, rel=1e-5)
        network.eval()
