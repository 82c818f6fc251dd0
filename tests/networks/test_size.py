import torch

from crystalseg.networks.size import SizeModel


def test_recovers_a_linear_law_of_the_logarithm():
    torch.manual_seed(0)
    styles = torch.nn.functional.normalize(torch.rand(2000, 256), dim=1)
    law = torch.randn(256)
    diameters = (3 + styles @ law * 0.3).exp()
    model = SizeModel()
    model.fit(styles, diameters, ridge=1e-9)
    torch.testing.assert_close(model(styles).exp(), diameters, rtol=1e-3, atol=0)


def test_ridge_solution_equals_the_normal_equations_by_hand():
    # one informative column: x = (-1, 1), log y = (0, 2): slope 2·1 / (2 + ridge 2) = 1/2, level 1
    styles = torch.zeros(2, 256)
    styles[:, 0] = torch.tensor([-1.0, 1.0])
    model = SizeModel()
    model.fit(styles, torch.tensor([0.0, 2.0]).exp(), ridge=2.0)
    assert abs(model.linear.weight[0, 0].item() - 0.5) < 1e-6
    assert abs(model.linear.bias.item() - 1.0) < 1e-6
