import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.folded import FoldedCPNet


@pytest.mark.parametrize("shape", [(32, 48), (224, 224)])
def test_it_says_four_things_of_every_pixel(shape):
    torch.manual_seed(0)
    with torch.inference_mode():
        assert FoldedCPNet().eval()(torch.rand(2, 3, *shape)).shape == (2, 4, *shape)


def test_it_has_cpnets_layers_at_a_quarter_of_the_work():
    folded, plain = FoldedCPNet(), CPNet()
    assert sum(p.numel() for p in folded.parameters()) == 6_611_332
    work = []
    for network in (folded, plain):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            network.eval()(torch.rand(1, 3, 64, 64))
        work.append(counter.get_total_flops())
    assert work[0] / work[1] == pytest.approx(0.26, abs=0.02)


def test_a_change_of_one_pixel_shows_at_that_pixel():
    # the stem at full resolution: folding alone would hand a pixel's change to the channels of its 2 × 2 block
    torch.manual_seed(0)
    network = FoldedCPNet().eval()
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[..., 16, 17] += 1
    with torch.inference_mode():
        assert (network(image) - network(changed)).abs()[0, :, 16, 17].min() > 0
