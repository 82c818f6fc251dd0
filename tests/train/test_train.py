"""Augmentation, loss, schedule and the loop; each network once through its command-line entry, in small."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from cellpose.train import _loss_fn_seg

from crystalseg.attention import THRESHOLDS, levels_from_labels
from crystalseg.flows import flows_from_labels
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.report.export import write_pair
from crystalseg.synth import Structure, draw
from crystalseg.train import cellpose, sima, size
from crystalseg.train.augment import attention_view, flow_patch, transform
from crystalseg.train.data import Mixture, sample
from crystalseg.train.loop import Budget, Order, changed, rate

DRAWN = draw(8, (260, 300), Structure("powder", diameter=35, spread=0.3))
SAMPLE = sample(DRAWN.image, DRAWN.labels, with_flow=True)


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
    s = sample(np.repeat(bright[..., None], 3, axis=2), DRAWN.labels, with_flow=True)
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


def test_attention_view_is_the_truth_of_what_it_shows():
    image, target = attention_view(SAMPLE, np.random.default_rng(0), 224, THRESHOLDS, (0.5, 1.5))
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
