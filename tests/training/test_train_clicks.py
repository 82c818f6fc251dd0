import json
from functools import partial

import numpy as np
import pytest
import torch

from crystalseg.networks.clicks import CHANNELS, SIDE, ClickNet
from crystalseg.networks.weights import load_weights
from crystalseg.segmentation.corrections.clicks import BEFORE, INSIDE, OUTSIDE, Seen
from crystalseg.training import clicks
from crystalseg.training.loop import TrainingArguments
from tests.conftest import discs
from tests.training.training_cases import SMALL

LABELS = discs((200, 220), [(60, 60, 30), (150, 150, 8)])
PIXELS = np.repeat(np.where(LABELS > 0, 200, 50).astype(np.uint8)[..., None], 3, axis=2)
IMAGE = clicks.Clickable(Seen.of(PIXELS, []), LABELS, [[1], [2]], [(slice(30, 91),) * 2, (slice(142, 159),) * 2])
PLAIN = clicks.Recipe(blind=0)


def test_an_item_shows_the_click_and_the_crystal():
    whole = []
    for seed in range(12):
        shown, target = clicks.item_of(IMAGE, np.random.default_rng(seed), PLAIN)
        shown = shown.reshape(clicks.LEVELS, CHANNELS, SIDE, SIDE)
        assert target.shape == (clicks.LEVELS, 2, SIDE, SIDE)
        there = target[:, 0].any(axis=(1, 2))
        assert there.any()
        for k in np.flatnonzero(there):
            # the middle of the dot lies in the crystal, and the picture is of one brightness there
            rows, columns = np.nonzero(shown[k, INSIDE])
            assert target[k, 0, int(rows.mean()), int(columns.mean())] == 1
            picture = shown[k, 0]
            inside = target[k, 0] > 0
            assert abs(np.median(picture[inside]) - np.median(picture[~inside])) > 0.3
        assert (target[:, 1] <= 1).all()
        whole.append(target[:, 1].max() >= clicks.WHOLE)
    assert all(whole)  # some resolution shows all of it


def test_flow_is_turned_with_the_picture():
    """A flow that points to the click everywhere still does after any turn and mirror."""
    shown = np.zeros((1, CHANNELS, SIDE, SIDE), np.float32)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    length = np.hypot(y, x)
    shown[0, 3], shown[0, 4] = -y / length, -x / length
    for seed in range(20):
        turned, _ = clicks._changed(shown.copy(), np.zeros((1, 2, SIDE, SIDE)), np.random.default_rng(seed), PLAIN)
        turned = turned.reshape(CHANNELS, SIDE, SIDE)
        np.testing.assert_allclose(turned[3:5], shown[0, 3:5], atol=1e-6)


def test_the_triplet_loss_by_hand():
    truth = torch.zeros(1, 1, SIDE, SIDE)
    truth[..., : SIDE // 2] = 1  # the left half of the tokens
    own = torch.arange(100).reshape(10, 10) % 10 < 5
    right = torch.where(own, 0.9, 0.1).reshape(1, 1, 100)
    assert clicks.triplet(right, truth, 0.5).item() == pytest.approx(0)
    alike = torch.where(own, 0.2, 0.4).reshape(1, 1, 100)
    assert clicks.triplet(alike, truth, 0.5).item() == pytest.approx(0.5 - 0.2 + 0.4)
    assert clicks.triplet(alike, torch.ones(1, 1, SIDE, SIDE), 0.5).item() == 0  # there are no others


def test_the_next_click_is_where_most_is_wrong():
    truth = torch.zeros(1, 2, 2, SIDE, SIDE)
    truth[0, 0, 0, 30:50, 30:50] = 1  # the coarser one shows 20 px of it, the finer one 40 px
    truth[0, 1, 0, 20:60, 20:60] = 1
    truth[:, :, 1] = 1
    found = torch.full((1, 2, SIDE, SIDE), -9.0)
    found[0, 1, 20:60, 20:40] = 9  # the left half, and something else
    found[0, 1, 2:6, 70:74] = 9
    image = torch.zeros(1, 2, CHANNELS, SIDE, SIDE)
    more = clicks.with_more_clicks(lambda _: (found, torch.tensor([[0.0, 1.0]]), None), image, truth)
    rows, columns = torch.nonzero(more[0, 1, INSIDE], as_tuple=True)
    assert 28 <= rows.float().mean() <= 52
    assert (columns.float().mean() - 50).abs() < 1.5
    assert more[:, :, OUTSIDE].sum() == 0
    assert torch.equal(more[0, 1, BEFORE] > 0, found[0, 1] > 0)
    # the same at half the size in the coarser one
    rows, columns = torch.nonzero(more[0, 0, BEFORE], as_tuple=True)
    assert (columns.min(), columns.max()) == (30, 56)
    half = torch.nonzero(more[0, 0, INSIDE], as_tuple=True)[1].float().mean()
    assert (half - 45).abs() < 1.5


def test_the_loss_prefers_the_right_mask():
    shown, target = clicks.item_of(IMAGE, np.random.default_rng(0), PLAIN)
    image, target = torch.from_numpy(shown)[None], torch.from_numpy(target)[None]

    class Said(torch.nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = logits

        def forward(self, x):
            return self.logits, torch.full(x.shape[:2], 3.0), torch.zeros(*x.shape[:2], 100)

    right = torch.where(target[:, :, 0] > 0, 9.0, -9.0)
    losses = [clicks.loss_of(Said(logits).eval(), image, target, PLAIN).item() for logits in (right, -right)]
    assert losses[0] + 2 < losses[1]


def test_clicknet_trains(folder, tmp_path, monkeypatch):
    fewer = partial(clicks.validation_batches, images=2, count=4)
    monkeypatch.setattr(clicks, "validation_batches", fewer)
    recipe = json.dumps({"synthetic": 0.0, "more": 1.0, "crop": [120, 140]})
    path = clicks.train(TrainingArguments(tmp_path / "out", [folder], [folder], None, recipe, SMALL))
    ClickNet().load_state_dict(load_weights(path, "clicks")[0])
