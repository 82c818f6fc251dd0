import torch
from cellpose.resnet_torch import CPnet as TheirNet

from crystalseg.networks.cellpose import CPNet


def random_statistics(network):
    """Non-trivial batch norm statistics, so that a swapped layer shows."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def test_parameter_count_is_the_papers():
    assert sum(p.numel() for p in CPNet().parameters()) == 6_601_169


def outputs(ours, theirs, channels):
    x = torch.rand(2, channels, 64, 48)
    with torch.inference_mode():
        return ours(x), theirs(x)[:2]


def test_our_weights_run_in_cellpose():
    torch.manual_seed(1)
    ours = random_statistics(CPNet())
    theirs = TheirNet([3, 32, 64, 128, 256], 3, 3).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    (y, style), (their_y, their_style) = outputs(ours, theirs, 3)
    torch.testing.assert_close(y, their_y, atol=1e-4, rtol=0)
    torch.testing.assert_close(style, their_style, atol=1e-4, rtol=0)


def test_cellposes_two_channel_weights_run_in_ours():
    torch.manual_seed(2)
    theirs = random_statistics(TheirNet([2, 32, 64, 128, 256], 3, 3))
    ours = CPNet(inputs=2).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    (y, _), (their_y, _) = outputs(ours, theirs, 2)
    torch.testing.assert_close(y, their_y, atol=1e-4, rtol=0)
    assert ours.inputs == 2
