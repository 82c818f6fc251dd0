import json
import time

import pytest

from crystalseg.segmentation.models import BUILD
from crystalseg.training import NETWORKS, plan
from crystalseg.training.loop import TrainingArguments


def test_every_network_there_is_can_be_trained_and_is_in_the_plan():
    assert set(NETWORKS) == set(plan.TRAIN)
    # models of other families are not ours to ship
    assert set(NETWORKS) - {"mask-r-cnn", "mask2former"} == set(BUILD) == {stage.name for stage in plan.STAGES}
    assert sum(stage.share for stage in plan.STAGES) == pytest.approx(1)


@pytest.fixture
def log(monkeypatch):
    """Trainings that take no time and write down what they were asked for."""
    asked = {}
    for name in plan.TRAIN:
        monkeypatch.setitem(plan.TRAIN, name, lambda arguments, name=name: asked.update({name: arguments}))
    return asked


def test_all_networks_are_trained_within_the_time_in_an_order_that_serves_them(tmp_path, log):
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "folded.safetensors").touch()
    assert plan.train_all(TrainingArguments(tmp_path / "out", start=tmp_path / "start"), 25, 9) == []
    names = list(log)
    assert names.index("cellpose") < names.index("size")
    assert max(names.index("folded"), names.index("sima")) < names.index("folded-confidence")
    assert names.index("efficientnet") < names.index("efficientnet-confidence")
    asked = [json.loads(o.schedule).get("minutes") or json.loads(o.recipe).get("minutes", 0) for o in log.values()]
    assert sum(asked) == pytest.approx(25 * (1 - 0.02))  # the SizeModel's time is not asked for
    assert log["folded"].start == tmp_path / "start" / "folded.safetensors"
    assert log["cellpose"].start is None
    assert log["confidence"].start == tmp_path / "out"


def test_a_step_ends_in_time_and_the_next_goes_on(tmp_path, log, monkeypatch):
    def slow(arguments):
        log["sima"] = arguments
        time.sleep(max(0.0, arguments.deadline - time.monotonic()) + 0.01)

    fast = plan.TRAIN["sima"]
    monkeypatch.setitem(plan.TRAIN, "sima", slow)
    left = plan.train_all(TrainingArguments(tmp_path), 25, 0.005)
    assert list(log) == ["folded", "efficientnet", "cellpose", "sima"]
    assert left[0] == "sima"  # not done: it goes on from its checkpoint
    log.clear()
    monkeypatch.setitem(plan.TRAIN, "sima", fast)
    assert plan.train_all(TrainingArguments(tmp_path), 25, 9) == []
    assert list(log) == left


def test_what_cannot_be_interrupted_is_not_begun_too_late(tmp_path, log):
    """Of 25 minutes the judge of proposals takes 1.75, and 1 is left of a step of 3: it waits for the next."""
    monotonic = iter([0.0] + [2.0 * 60] * 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan.time, "monotonic", lambda: next(monotonic))
        left = plan.train_all(TrainingArguments(tmp_path), 25, 3)
    assert left == ["folded-confidence", "efficientnet-confidence", "confidence"]


@pytest.mark.parametrize("installed", [True, False])
def test_imagenet_weights_are_taken_if_they_are_there(tmp_path, log, monkeypatch, installed, capsys):
    monkeypatch.setattr(plan, "has_imagenet", lambda: installed)
    plan.train_all(TrainingArguments(tmp_path / "out"), 25, 9)
    assert json.loads(log["efficientnet"].recipe)["imagenet"] == installed
    assert ("is not installed" in capsys.readouterr().out) != installed
