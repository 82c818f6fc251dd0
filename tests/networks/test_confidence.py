import torch

from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation.models import load_judge
from crystalseg.segmentation.proposals import CHANNELS, FEATURES, PATCH
from crystalseg.segmentation.settings import Settings


def test_a_logit_a_proposal_and_platt_scaling_is_a_line():
    torch.manual_seed(0)
    network = Confidence().eval()
    pictures, features = torch.rand(5, len(CHANNELS), PATCH, PATCH), torch.rand(5, len(FEATURES))
    plain = network(pictures, features)
    assert plain.shape == (5,)
    network.line.copy_(torch.tensor([2.0, -0.5]))
    torch.testing.assert_close(network(pictures, features), 2 * plain - 0.5)
    assert sum(p.numel() for p in network.parameters()) == 61_073


def test_what_is_near_does_not_matter_to_a_proposal():
    """Proposals are judged one by one, whatever else is in the batch."""
    network = Confidence().eval()
    pictures, features = torch.rand(6, len(CHANNELS), PATCH, PATCH), torch.rand(6, len(FEATURES))
    torch.testing.assert_close(network(pictures, features)[2:3], network(pictures[2:3], features[2:3]))


def test_the_shipped_confidence_prefers_a_fitting_flow():
    """The same disc: once the flow fits its shape and no scale contradicts, once neither."""
    network = load_judge(Settings(network="cellpose"))
    y, x = torch.meshgrid(*2 * [torch.linspace(-1, 1, PATCH)], indexing="ij")
    disc = (torch.hypot(y, x) < 0.66).float()
    picture = torch.zeros(2, len(CHANNELS), PATCH, PATCH)
    fits = {"red": disc, "green": disc, "blue": disc, "foreground": disc, "fit": disc, "length": disc, "own": disc}
    for name, values in fits.items():
        picture[:, CHANNELS.index(name)] = values
    picture[1, CHANNELS.index("fit")] = disc * torch.rand(PATCH, PATCH) * 0.2
    picture[1, CHANNELS.index("length")] = 0.3 * disc
    figures = {
        "quality": (4.0, -2.0),
        "support": (0.9, 0.0),
        "rival": (0.0, 0.9),
        "parts": (0.0, 0.0),
        "size": (0.5, 0.5),
        "share": (0.2, 0.2),
        "border": (0.0, 0.0),
        "factor": (-0.5, -0.5),
    }
    features = torch.tensor([figures[name] for name in FEATURES]).T
    sure = network(picture, features).sigmoid()
    assert sure[0] > 0.8 > 0.4 > sure[1]
