"""Training CPNet and the SizeModel on its styles."""

import json
from functools import partial

import pytest
import torch
from cellpose.train import _loss_fn_seg

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.efficientnet import EfficientUNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.training import cellpose, efficientnet, folded, size
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


def _target(outline):
    """Foreground everywhere, no flow, everything valid, and an outline (16, 16)."""
    target = torch.zeros(1, 5, 16, 16)
    target[:, 2], target[:, 3], target[:, 4] = 1, outline, 1
    return target


def test_a_closed_boundary_is_not_punished_where_labels_may_lack_one():
    """A line of the network's own through one label, with ground on it and flow away from it, against none."""
    plain = torch.zeros(1, 4, 16, 16)
    plain[:, 2], plain[:, 3] = 6, -6
    line = plain.clone()
    line[..., 8] = torch.tensor([3.0, -3.0, -6.0, 6.0])[:, None]

    def loss(output, outline):
        return folded.loss_of(lambda _: output, None, _target(outline), 0.5).item()

    assert loss(line, torch.full((16, 16), -1.0)) <= loss(plain, torch.full((16, 16), -1.0)) + 1e-6
    assert loss(line, torch.zeros(16, 16)) > loss(plain, torch.zeros(16, 16)) + 0.1


def test_no_line_is_taught_nor_forbidden_where_labels_may_lack_one():
    output = torch.randn(1, 4, 16, 16, requires_grad=True)
    outline = torch.zeros(16, 16)
    outline[:, 8:] = -1
    folded.loss_of(lambda _: output, None, _target(outline), 0.5).backward()
    taught = output.grad[0, 3].abs() > 0
    assert taught[:, :8].all()
    assert not taught[:, 8:].any()


def test_efficientnet_trains_and_writes_weights(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(folded, "validation_batches", partial(folded.validation_batches, count=2, size=64))
    recipe = '{"patch": 64, "imagenet": false}'
    path = efficientnet.train(TrainingArguments(tmp_path / "out", [folder], [folder], recipe=recipe, schedule=SMALL))
    EfficientUNet().load_state_dict(load_weights(path, "efficientnet")[0])
    # gone on with from its own weights it needs no others
    again = TrainingArguments(tmp_path / "again", [folder], [folder], path, '{"patch": 64}', SMALL)
    monkeypatch.setattr(efficientnet, "load_imagenet", lambda _: pytest.fail("not needed"))
    efficientnet.train(again)


def test_the_encoder_begins_with_imagenet_weights_unless_told_otherwise(folder, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(efficientnet, "load_imagenet", begun.append)
    monkeypatch.setattr(folded, "learn", lambda name, network, arguments, choice: begun.append((name, network, choice)))
    efficientnet.train(TrainingArguments(tmp_path))
    assert begun[0] is begun[1][1]
    assert begun[1][0] == "efficientnet"
    efficientnet.train(TrainingArguments(tmp_path, recipe='{"imagenet": false}'))
    assert len(begun) == 3
