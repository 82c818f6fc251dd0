import torch

from crystalseg.networks.confidence import Confidence
from crystalseg.pipeline import judge, load_confidence
from crystalseg.selection import FEATURES


def test_a_logistic_regression_by_hand():
    network = Confidence()
    with torch.no_grad():
        network.linear.weight.copy_(torch.tensor([[1.0, 2.0, -1.0, 0.5]]))
        network.linear.bias.fill_(-1.0)
    features = torch.tensor([[0.5, 1.0, 0.0, 2.0], [0.0, 0.0, 1.0, 0.0]])
    assert network(features).tolist() == [2.5, -2.0]
    assert judge(network, features.numpy()).tolist() == torch.tensor([2.5, -2.0]).sigmoid().tolist()


def test_the_shipped_confidence_goes_the_right_way():
    """Better fit and the support of another scale speak for a proposal, a larger rival and good parts against it."""
    weight = dict(zip(FEATURES, load_confidence().linear.weight[0].tolist(), strict=True))
    assert weight["quality"] > 0
    assert weight["support"] > 0
    assert weight["rival"] < 0
    assert weight["parts"] < 0
