import itertools
import json

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu, spearmanr

from crystalseg.errors import UserError
from crystalseg.evaluation.reliability import expected_calibration_error, reliability
from crystalseg.networks import DIRECTORY
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.sima import build_sima
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.proposals import CHANNELS, FEATURES, PATCH, Candidates
from crystalseg.training import confidence
from crystalseg.training.loop import TrainingArguments


def judged(seed, sureness=1.0):
    """One image of 40 squares that a scale of no prediction proposes, some of them right. Bright ones (the image's 0.8
    of its span) mostly are, dark ones mostly are not; `quality` is the logit of being right times `sureness`."""
    rng = np.random.default_rng(seed)
    labels = np.kron(np.arange(40).reshape(5, 8) + 1, np.pad(np.ones((8, 8), int), 1)).astype(np.int32)
    logit = rng.normal(0, 2, 40)
    right = rng.random(40) < 1 / (1 + np.exp(-logit))
    bright = np.where(rng.random(40) < 0.9, right, ~right)
    gray = np.concatenate(([100], np.where(bright, 200, 60)))[labels].astype(np.uint8)
    features = np.column_stack((sureness * logit, rng.random((40, len(FEATURES) - 1)))).astype(np.float32)
    truth = np.where(np.concatenate(([False], right))[labels], labels, 0)
    scale = ScalePrediction(1.0, np.zeros((2, *labels.shape), np.float32), np.zeros(labels.shape, np.float32), labels)
    pixels = np.repeat(gray[..., None], 3, axis=2)
    return confidence.Judged(
        pixels,
        truth,
        [scale],
        [Candidates(labels, features, np.zeros(labels.shape, np.float32))],
        [right.astype(float)],
    )


def test_confidence_learns_from_pictures_and_figures():
    torch.manual_seed(0)
    network = Confidence()
    recipe = confidence.Recipe(epochs=4, batch=64, learning_rate=5e-3, average=0.9)
    confidence.fit(network, confidence.examples([judged(k) for k in range(40)], 40, 0), recipe)
    sure, right = confidence.selected(network, [judged(k) for k in range(100, 130)], 0.0)
    # alone, the figure orders 0.82 of pairs rightly and the picture 0.9
    assert roc_auc(sure, right) > 0.92


def roc_auc(score, right):
    return mannwhitneyu(score[right], score[~right]).statistic / (right.sum() * (~right).sum())


class OfQuality(torch.nn.Module):
    """Believes the first figure as it is."""

    def __init__(self):
        super().__init__()
        self.register_buffer("line", torch.tensor([1.0, 0.0]))

    def look(self, pictures):
        return pictures[:, 0, 0, :0]

    def judge(self, _, features):
        return self.line[0] * features[:, 0] + self.line[1]


def test_platt_scaling_undoes_too_much_sureness_and_keeps_the_order():
    network = OfQuality()
    images = [judged(k, sureness=2.0) for k in range(300)]
    before, right = confidence.selected(network, images[100:], 0.0)
    confidence.platt_scale(network, images[:100], 0.0)
    after, _ = confidence.selected(network, images[100:], 0.0)
    assert network.line[0].item() == pytest.approx(0.5, abs=0.06)
    assert spearmanr(before, after).statistic > 0.9999
    error_before, error_after = (expected_calibration_error(reliability(sure, right)) for sure in (before, after))
    assert error_after < 0.03 < error_before


def test_examples_hold_the_iou_of_what_is_right_and_weigh_images_alike():
    data = confidence.examples([judged(0), judged(1)], 10, 0)
    assert data.pictures.shape == (20, len(CHANNELS), PATCH, PATCH)
    assert data.features.shape == (20, len(FEATURES))
    assert set(data.target.tolist()) == {0, 1}
    assert data.weight.tolist() == pytest.approx([1] * 20)


def test_the_best_iou_of_each_proposal_by_hand():
    truth = np.zeros((4, 8), np.int32)
    truth[:, :4] = 1
    proposed = np.array([[1, 0, 2, 2], [1, 0, 2, 2]])  # at half size: 2 × 4 px and 4 × 4 px of the image
    assert confidence._best_iou(truth, proposed) == pytest.approx([0.5, 0.0])


def test_confidence_trains(folder, tmp_path):
    recipe = {"images": 2, "synthetic": 0.0, "crop": [120, 150], "grains": 0, "epochs": 1}
    path = confidence.train(TrainingArguments(tmp_path / "out", [folder], [folder], None, json.dumps(recipe)))
    assert load_weights(path, "confidence")[0]["decide.0.weight"].shape[1] == 96 + len(FEATURES)
    with pytest.raises(UserError, match="Give --validation"):
        confidence.train(TrainingArguments(tmp_path / "out", [folder], [], None, json.dumps(recipe)))
    # no training images: the network there is, scaled anew
    path = confidence.train(
        TrainingArguments(tmp_path / "again", [], [folder], None, json.dumps(recipe | {"images": 0}))
    )
    new, shipped = (load_weights(p, "confidence")[0] for p in (path, DIRECTORY / "confidence.safetensors"))
    assert not torch.equal(new.pop("line"), shipped.pop("line"))
    assert all(torch.equal(new[name], shipped[name]) for name in shipped)


def test_minutes_end_the_collecting_and_the_training_early(monkeypatch, capsys):
    """Each look at the clock is a second later; of 2 minutes 66 s are for images, and 36 s for steps."""
    clock = itertools.count()
    monkeypatch.setattr(confidence.time, "monotonic", lambda: float(next(clock)))
    recipe = confidence.Recipe(minutes=2.0, batch=4, epochs=1000)
    images = list(confidence._until(60 * 2.0 * confidence.COLLECTING, recipe, itertools.repeat("image")))
    assert len(images) == 68  # the clock began at 0
    data = confidence.examples([judged(0)], 40, 0)
    network = confidence.Confidence(data.pictures.shape[1], data.features.shape[1])
    began = float(next(clock)) - 66
    confidence.fit(network, data, recipe, began)
    # ten steps took a second, about 34 s were left; 1000 epochs would be 10,000 steps
    assert int(capsys.readouterr().out.split(" of ")[1].split()[0]) == pytest.approx(340, abs=30)


def test_confidence_needs_a_flow_network_that_finds_something(folder, tmp_path):
    from crystalseg.networks.weights import Card

    blind = CPNet()
    for weight in blind.parameters():
        weight.data.zero_()  # its foreground is 0 everywhere, which is none
    for name, network in (("cellpose", blind), ("sima", build_sima())):
        save_weights(tmp_path / f"{name}.safetensors", network.state_dict(), Card(name, "", "", "", ""))
    recipe = json.dumps({"images": 1, "synthetic": 0.0, "crop": [64, 64], "grains": 0})
    with pytest.raises(UserError, match="Train it first"):
        confidence.train(TrainingArguments(tmp_path / "out", [folder], [folder], tmp_path, recipe))


def test_the_error_is_told_of_each_kind_of_image():
    """Confidence twice too sure on one kind, true of the other."""
    network = OfQuality()
    images = [judged(k, sureness=1.0 if k < 150 else 3.0) for k in range(300)]
    table = confidence.error_of_kinds(network, images, ["powder"] * 150, 0.0)
    assert list(table.index) == ["powder", "drawn"]
    assert table.loc["powder", "error"] < 0.03 < 0.06 < table.loc["drawn", "error"]
    np.testing.assert_allclose(table["right"], 0.5, atol=0.05)
    assert (table["crystals"] > 5000).all()
