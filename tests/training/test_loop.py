import numpy as np
import pytest
import torch

from crystalseg.errors import UserError
from crystalseg.training.loop import Schedule, changed, fit, rate


def test_schedule_warms_up_and_falls_to_zero():
    schedule = Schedule(learning_rate=2.0, warmup=0.1)
    assert rate(0.05, schedule) == pytest.approx(1.0)
    assert rate(0.1, schedule) == pytest.approx(2.0)
    assert rate(0.55, schedule) == pytest.approx(1.0)
    assert rate(1.0, schedule) == pytest.approx(0.0)


def test_unknown_changes_are_refused():
    assert changed(Schedule(), '{"batch": 4}').batch == 4
    for wrong in ('{"bach": 4}', "[1]", "{"):
        with pytest.raises(UserError, match=r"nknown|valid"):
            changed(Schedule(), wrong)


def kept_of(loss_of, steps, folder, average=0.0):
    """Step and weight whenever `fit` keeps a network of one weight, which begins at one."""
    network = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    kept = []
    fit(
        network,
        lambda _: (Ones(), 1),
        loss_of,
        [(torch.ones(1, 1, 2, 2),) * 2],
        Schedule(steps=steps, batch=1, every=1, learning_rate=0.1, warmup=0.0, average=average),
        folder,
        "net",
        lambda net, row: kept.append((row["step"], net.weight.item())),
    )
    return kept


def test_averaged_weights_are_what_is_kept(tmp_path):
    """With a decay of one the average stays what it was after the first step; with none it is the last weights."""
    kept = {
        decay: kept_of(lambda net, x, _: net(x).square().mean(), 4, tmp_path / str(decay), decay)
        for decay in (0.0, 1.0)
    }
    assert len(kept[0.0]) == 4
    assert len(kept[1.0]) == 2  # never better than at first, and at the end


def test_the_end_of_a_schedule_is_kept_also_where_its_loss_is_not_the_lowest(tmp_path):
    """Training drives the weight to zero, validation asks for one: the first look is the best, the last is kept."""
    kept = kept_of(lambda net, x, target: (net(x) - target).square().mean(), 5, tmp_path)
    assert [step for step, _ in kept] == [1, 5]
    assert kept[1][1] < kept[0][1] < 1


class Ones(torch.utils.data.IterableDataset):
    def __iter__(self):
        while True:
            yield np.ones((1, 2, 2), np.float32), np.zeros(1, np.float32)
