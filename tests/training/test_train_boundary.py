import json
from functools import partial

import numpy as np
import torch

from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.weights import load_weights
from crystalseg.training import boundary
from crystalseg.training.loop import TrainingArguments
from tests.training.training_cases import SAMPLE, SMALL


def test_boundary_trains(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "validation_batches", partial(boundary.validation_batches, count=2))
    recipe = json.dumps({"patch": 64, "synthetic": 0.0})
    path = boundary.train(TrainingArguments(tmp_path / "out", [folder], [folder], None, recipe, SMALL))
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
