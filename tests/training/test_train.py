"""Augmentation, loss, schedule and the loop; each network once through its command-line entry, in small."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from cellpose.train import _loss_fn_seg
from scipy.stats import mannwhitneyu, spearmanr

from crystalseg.evaluation.reliability import calibration_error, reliability
from crystalseg.micrographs.pairs import write_pair
from crystalseg.networks import DIRECTORY
from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.sima import build_sima
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.segmentation.attention import levels_from_labels
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.proposals import CHANNELS, FEATURES, PATCH, Candidates
from crystalseg.segmentation.settings import THRESHOLDS
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from crystalseg.training import boundary, cellpose, confidence, sima, size
from crystalseg.training.augmentation import attention_item, flow_patch, transform
from crystalseg.training.data import Mixture, labelled_image
from crystalseg.training.loop import Budget, Order, changed, fit, rate

DRAWN = draw(8, (260, 300), Structure("powder", diameter=35, spread=0.3))
SAMPLE = labelled_image(DRAWN.image, DRAWN.labels, with_flow=True)


@pytest.mark.parametrize("factor", [1.0, 0.6, 1.7])
def test_flow_turns_with_the_image(factor):
    """The warped flow must be the flow of the warped labels, at crystals that lie whole in the patch."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        _, labels, flow, _ = transform(SAMPLE, factor, 160, rng)
        edge = np.unique(np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1])))
        inner = (labels > 0) & ~np.isin(labels, edge)
        if inner.any():
            assert np.median((flow * flows_from_labels(labels)).sum(axis=0)[inner]) > 0.99


def test_image_and_labels_stay_together():
    bright = np.where(DRAWN.labels > 0, 255, 0).astype(np.uint8)
    s = labelled_image(np.repeat(bright[..., None], 3, axis=2), DRAWN.labels, with_flow=True)
    image, labels, _, valid = transform(s, 0.8, 128, np.random.default_rng(1))
    middle = image.mean(axis=0)
    assert middle[valid & (labels > 0)].mean() > middle[valid & (labels == 0)].mean() + 0.7


def test_patches_are_scaled_to_the_diameter_asked_for():
    rng = np.random.default_rng(2)
    areas = []
    for _ in range(30):
        image, target = flow_patch(SAMPLE, rng, 160, 50.0, (1.0, 1.0 + 1e-9))
        assert image.shape == (3, 160, 160)
        assert target.shape == (4, 160, 160)
        areas.append(target[2].mean())
    # the covered share does not depend on scale; the diameter shows in the number of crystals, so look at one patch
    _, labels, _, _ = transform(SAMPLE, 50 / SAMPLE.diameter, 160, rng)
    assert np.mean(areas) == pytest.approx((DRAWN.labels > 0).mean(), abs=0.12)
    assert len(np.unique(labels)) < 16


def test_an_attention_item_is_the_truth_of_what_it_shows():
    image, target = attention_item(SAMPLE, np.random.default_rng(0), 224, THRESHOLDS, (0.5, 1.5))
    assert image.shape == (3, 224, 224)
    assert target.shape == (5, 224, 224)
    assert (target.sum(axis=0) == 1).all()


def test_loss_is_cellposes():
    torch.manual_seed(0)
    output, flow = torch.randn(2, 3, 16, 16), torch.randn(2, 2, 16, 16)
    foreground = (torch.rand(2, 1, 16, 16) > 0.5).float()
    target = torch.cat((flow, foreground, torch.ones(2, 1, 16, 16)), dim=1)
    theirs = _loss_fn_seg(torch.cat((foreground, flow), dim=1).numpy(), output, torch.device("cpu"))
    ours = cellpose.loss_of(lambda _: (output, None), None, target)
    torch.testing.assert_close(ours, theirs)


def test_invalid_pixels_do_not_count():
    output = torch.randn(1, 3, 8, 8)
    target = torch.zeros(1, 4, 8, 8)
    target[:, 3, :4] = 1
    changed_output = output.clone()
    changed_output[:, :, 4:] += 100
    first, second = (cellpose.loss_of(lambda _, y=y: (y, None), None, target) for y in (output, changed_output))
    assert first == second


def test_attention_loss_by_hand():
    # logit 0 costs log 2 whatever the truth; the weighted mean of equal costs is the cost
    loss = sima.loss_of(lambda x: x, torch.zeros(1, 5, 4, 4), torch.ones(1, 5, 4, 4), (2, 4, 6, 8, 1))
    assert loss.item() == pytest.approx(np.log(2))
    # only the heaviest map wrong: 8 of 21 of its cost
    logits = torch.full((1, 5, 4, 4), 20.0)
    logits[:, 3] = -20
    loss = sima.loss_of(lambda x: x, logits, torch.ones(1, 5, 4, 4), (2, 4, 6, 8, 1))
    assert loss.item() == pytest.approx(20 * 8 / 21, rel=1e-3)


def test_schedule_warms_up_and_falls_to_zero():
    budget = Budget(learning_rate=2.0, warmup=0.1)
    assert rate(0.05, budget) == pytest.approx(1.0)
    assert rate(0.1, budget) == pytest.approx(2.0)
    assert rate(0.55, budget) == pytest.approx(1.0)
    assert rate(1.0, budget) == pytest.approx(0.0)


def test_unknown_changes_are_refused():
    assert changed(Budget(), '{"batch": 4}').batch == 4
    for wrong in ('{"bach": 4}', "[1]", "{"):
        with pytest.raises(ValueError, match=r"nknown|valid"):
            changed(Budget(), wrong)


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "material" / "train"
    place.mkdir(parents=True)
    write_pair(place, "one", DRAWN.image, DRAWN.labels)
    return place


SMALL = json.dumps({"steps": 2, "batch": 2, "every": 2})


def test_cellpose_trains_resumes_and_writes_weights(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cellpose, "validation_batches", partial(cellpose.validation_batches, count=2, size=64))
    recipe = json.dumps({"patch": 64, "last_patch": 64, "synthetic": 0.0})
    path = cellpose.train(Order(tmp_path / "out", [folder], [folder], None, recipe, SMALL))
    state, card = load_weights(path, "cellpose")
    CPNet().load_state_dict(state)
    assert "material/train" in card.data
    assert "validation loss" in card.metrics
    longer = json.dumps({"steps": 4, "batch": 2, "every": 2})
    cellpose.train(Order(tmp_path / "out", [folder], [folder], None, recipe, longer))
    assert "resumed at step 2" in capsys.readouterr().out
    steps = [line.split(",")[0] for line in (tmp_path / "out/cellpose.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4"]


def test_sima_trains(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sima, "validation_batches", partial(sima.validation_batches, count=2))
    path = sima.train(Order(tmp_path / "out", [folder], [folder], None, '{"synthetic": 0.0}', SMALL))
    _, card = load_weights(path, "sima")
    assert json.loads(card.settings)["thresholds"] == list(THRESHOLDS)
    with pytest.raises(ValueError, match="one loss weight"):
        sima.train(Order(tmp_path / "out", [folder], [folder], None, '{"thresholds": [100, 50]}', SMALL))


def test_size_model_trains(folder, tmp_path):
    from crystalseg.networks.weights import Card

    save_weights(tmp_path / "c.safetensors", CPNet().state_dict(), Card("cellpose", "", "", "", ""))
    recipe = json.dumps({"patches": 4, "patch": 64, "synthetic": 0.0})
    path = size.train(Order(tmp_path / "out", [folder], [folder], tmp_path / "c.safetensors", recipe))
    assert load_weights(path, "size")[0]["linear.weight"].shape == (1, 256)


def test_mixture_draws_from_both():
    source = Mixture([], 0.0, 0, with_flow=False)
    assert source(np.random.default_rng(0)).flow is None  # without folders everything is synthetic
    assert levels_from_labels(source(np.random.default_rng(1)).labels).any()


def test_a_patch_about_a_crystal_shows_it_near_the_diameter_asked_for():
    rng = np.random.default_rng(4)
    middle = []
    for _ in range(40):
        item = flow_patch(SAMPLE, rng, 128, 50.0, (1.0, 1.1), focus=1.0)
        if item is not None:
            middle.append(item[1][2, 32:96, 32:96].max())
    assert len(middle) > 30
    assert np.mean(middle) > 0.95


def test_crystals_of_a_sample_by_hand():
    labels = np.zeros((30, 40), np.int32)
    labels[5:15, 10:20] = 7
    s = labelled_image(np.zeros((30, 40, 3), np.uint8), labels, False)
    np.testing.assert_allclose(s.crystals, [[9.5, 14.5, 2 * np.sqrt(100 / np.pi)]], rtol=1e-5)
    assert s.diameter == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert labelled_image(s.image, np.zeros_like(labels), False).diameter == 0


def test_averaged_weights_are_what_is_kept(tmp_path):
    """With a decay of one the average stays what it was after the first step; with none it is the last weights."""
    kept = {}
    for decay in (0.0, 1.0):
        network = torch.nn.Conv2d(1, 1, 1)
        torch.nn.init.ones_(network.weight)
        budget = Budget(steps=4, batch=1, every=1, learning_rate=0.1, warmup=0.0, average=decay)
        weights = kept.setdefault(decay, [])
        fit(
            network,
            lambda _: (Ones(), 1),
            lambda net, x, _: net(x).square().mean(),
            [(torch.ones(1, 1, 2, 2),) * 2],
            budget,
            tmp_path / str(decay),
            "net",
            lambda net, _, w=weights: w.append(net.weight.item()),
        )
    assert len(kept[0.0]) == 4
    assert len(kept[1.0]) == 1  # never better than at first


class Ones(torch.utils.data.IterableDataset):
    def __iter__(self):
        while True:
            yield np.ones((1, 2, 2), np.float32), np.zeros(1, np.float32)


def test_boundary_trains(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "validation_batches", partial(boundary.validation_batches, count=2))
    recipe = json.dumps({"patch": 64, "synthetic": 0.0})
    path = boundary.train(Order(tmp_path / "out", [folder], [folder], None, recipe, SMALL))
    build_boundary().load_state_dict(load_weights(path, "boundary")[0])


def test_boundary_patch_shows_the_lines():
    image, target = boundary.boundary_patch(SAMPLE, np.random.default_rng(0), 128, (1.0, 1.0 + 1e-9))
    assert image.shape == target.shape == (3, 128, 128)
    line, ground, valid = target
    assert 0.02 < line.mean() < 0.6
    assert set(np.unique(target)) <= {0, 1}
    assert ground[line > 0].mean() > 0.3
    assert valid.mean() > 0.3


def test_soft_skeleton_of_a_hard_line_is_its_middle():
    line = torch.zeros(1, 1, 21, 40)
    line[:, :, 8:13] = 1
    skeleton = boundary.soft_skeleton(line, 4)[0, 0]
    assert (skeleton[10, 5:-5] == 1).all()
    assert skeleton[:8].sum() == skeleton[13:].sum() == 0
    assert (skeleton[:, 20] > 0).sum() == 1


def test_boundary_loss_prefers_a_whole_line_to_a_broken_one():
    target = torch.zeros(1, 3, 32, 32)
    target[:, 0, :, 14:19], target[:, 1:] = 1, 1
    whole = torch.where(target[:, :2] > 0, 9.0, -9.0)
    broken = whole.clone()
    broken[:, 0, 14:18] = -9
    losses = [boundary.loss_of(lambda _, o=o: o, None, target, 0.5, 4).item() for o in (whole, broken)]
    assert losses[0] < 0.05 < losses[1]


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
    recipe = confidence.Recipe(epochs=6, batch=64, learning_rate=5e-3, average=0.9)
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

    def forward(self, _, features):
        return self.line[0] * features[:, 0] + self.line[1]


def test_calibration_undoes_too_much_sureness_and_keeps_the_order():
    network = OfQuality()
    images = [judged(k, sureness=2.0) for k in range(300)]
    before, right = confidence.selected(network, images[100:], 0.0)
    confidence.calibrate(network, images[:100], 0.0)
    after, _ = confidence.selected(network, images[100:], 0.0)
    assert network.line[0].item() == pytest.approx(0.5, abs=0.06)
    assert spearmanr(before, after).statistic > 0.9999
    assert calibration_error(reliability(after, right)) < 0.03 < calibration_error(reliability(before, right))


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
    recipe = {"images": 3, "synthetic": 0.0, "crop": [150, 200], "grains": 0, "epochs": 1}
    path = confidence.train(Order(tmp_path / "out", [folder], [folder], None, json.dumps(recipe)))
    assert load_weights(path, "confidence")[0]["decide.0.weight"].shape[1] == 96 + len(FEATURES)
    with pytest.raises(ValueError, match="give --validation"):
        confidence.train(Order(tmp_path / "out", [folder], [], None, json.dumps(recipe)))
    # no training images: the network there is, calibrated anew
    path = confidence.train(Order(tmp_path / "again", [], [folder], None, json.dumps(recipe | {"images": 0})))
    new, shipped = (load_weights(p, "confidence")[0] for p in (path, DIRECTORY / "confidence.safetensors"))
    assert not torch.equal(new.pop("line"), shipped.pop("line"))
    assert all(torch.equal(new[name], shipped[name]) for name in shipped)


def test_confidence_needs_a_flow_network_that_finds_something(folder, tmp_path):
    from crystalseg.networks.weights import Card

    blind = CPNet()
    for weight in blind.parameters():
        weight.data.zero_()  # its foreground is 0 everywhere, which is none
    for name, network in (("cellpose", blind), ("sima", build_sima())):
        save_weights(tmp_path / f"{name}.safetensors", network.state_dict(), Card(name, "", "", "", ""))
    recipe = json.dumps({"images": 1, "synthetic": 0.0, "crop": [64, 64], "grains": 0})
    with pytest.raises(ValueError, match="train it first"):
        confidence.train(Order(tmp_path / "out", [folder], [folder], tmp_path, recipe))
