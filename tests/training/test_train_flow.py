"""Training CPNet and the SizeModel on its styles."""

import json
from functools import partial

import pytest
import torch
from cellpose.train import _loss_fn_seg

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.training import cellpose, folded, size
from crystalseg.training.loop import TrainingArguments
from tests.training.training_cases import SMALL


def test_loss_is_cellposes():
    torch.manual_seed(0)
    output, flow = torch.randn(2, 3, 16, 16), torch.randn(2, 2, 16, 16)
    foreground = (torch.rand(2, 1, 16, 16) > 0.5).float()
    target = torch.cat((flow, foreground, torch.zeros(2, 1, 16, 16), torch.ones(2, 1, 16, 16)), dim=1)
    theirs = _loss_fn_seg(torch.cat((foreground, flow), dim=1).numpy(), output, torch.device("cpu"))
    ours = cellpose.loss_of(lambda _: (output, None), None, target)
    torch.testing.assert_close(ours, theirs)


def test_invalid_pixels_do_not_count():
    output = torch.randn(1, 3, 8, 8)
    target = torch.zeros(1, 5, 8, 8)
    target[:, 4, :4] = 1
    changed_output = output.clone()
    changed_output[:, :, 4:] += 100
    first, second = (cellpose.loss_of(lambda _, y=y: (y, None), None, target) for y in (output, changed_output))
    assert first == second


def test_cellpose_trains_resumes_and_writes_weights(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cellpose, "validation_batches", partial(cellpose.validation_batches, count=2, size=64))
    recipe = json.dumps({"patch": 64, "last_patch": 64, "synthetic": 0.0})
    path = cellpose.train(TrainingArguments(tmp_path / "out", [folder], [folder], None, recipe, SMALL))
    state, card = load_weights(path, "cellpose")
    CPNet().load_state_dict(state)
    assert "material/train" in card.data
    assert "validation loss" in card.metrics
    longer = json.dumps({"steps": 4, "batch": 2, "every": 2})
    cellpose.train(TrainingArguments(tmp_path / "out", [folder], [folder], None, recipe, longer))
    assert "resumed at step 2" in capsys.readouterr().out
    steps = [line.split(",")[0] for line in (tmp_path / "out/cellpose.csv").read_text().splitlines()]
    assert steps == ["step", "2", "4"]


def test_size_model_trains(folder, tmp_path):
    from crystalseg.networks.weights import Card

    save_weights(tmp_path / "c.safetensors", CPNet().state_dict(), Card("cellpose", "", "", "", ""))
    recipe = json.dumps({"patches": 4, "patch": 64, "synthetic": 0.0})
    path = size.train(TrainingArguments(tmp_path / "out", [folder], [folder], tmp_path / "c.safetensors", recipe))
    assert load_weights(path, "size")[0]["linear.weight"].shape == (1, 256)


def test_outlines_are_learnt_beside_cellposes_loss():
    torch.manual_seed(0)
    output, target = torch.randn(2, 4, 16, 16), torch.rand(2, 5, 16, 16).round()
    cross = torch.nn.functional.binary_cross_entropy_with_logits(output[:, 3], target[:, 3], reduction="none")
    line = (cross * target[:, 4]).sum() / target[:, 4].sum()
    whole = folded.loss_of(lambda _: output, None, target, 0.5)
    assert whole.item() == pytest.approx((cellpose.flow_loss(output, target) + 0.5 * line).item(), rel=1e-5)


def test_folded_trains_and_writes_weights(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(folded, "validation_batches", partial(folded.validation_batches, count=2, size=64))
    path = folded.train(TrainingArguments(tmp_path / "out", [folder], [folder], recipe='{"patch": 64}', schedule=SMALL))
    FoldedCPNet().load_state_dict(load_weights(path, "folded")[0])
