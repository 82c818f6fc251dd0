import json
from functools import partial

import numpy as np
import pytest
import torch

from crystalseg.errors import UserError
from crystalseg.networks.weights import load_weights
from crystalseg.segmentation.models import BUILD
from crystalseg.segmentation.scales import SIZE_THRESHOLDS
from crystalseg.training import sima
from crystalseg.training.loop import TrainingArguments
from crystalseg.training.plan import TRAIN
from tests.training.training_cases import SMALL


def test_attention_loss_by_hand():
    # logit 0 costs log 2 whatever the truth; the weighted mean of equal costs is the cost
    loss = sima.loss_of(lambda x: x, torch.zeros(1, 5, 4, 4), torch.ones(1, 5, 4, 4), (2, 4, 6, 8, 1))
    assert loss.item() == pytest.approx(np.log(2))
    # only the heaviest map wrong: 8 of 21 of its cost
    logits = torch.full((1, 5, 4, 4), 20.0)
    logits[:, 3] = -20
    loss = sima.loss_of(lambda x: x, logits, torch.ones(1, 5, 4, 4), (2, 4, 6, 8, 1))
    assert loss.item() == pytest.approx(20 * 8 / 21, rel=1e-3)


@pytest.mark.parametrize("name", ["sima", "sima-sa2"])
def test_sima_trains(name, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(sima, "validation_batches", partial(sima.validation_batches, count=2))
    path = TRAIN[name](TrainingArguments(tmp_path / "out", [folder], [folder], None, '{"synthetic": 0.0}', SMALL))
    state, card = load_weights(path, name)
    BUILD[name](state).load_state_dict(state)
    assert json.loads(card.settings)["thresholds"] == list(SIZE_THRESHOLDS)
    with pytest.raises(UserError, match="one loss weight"):
        TRAIN[name](TrainingArguments(tmp_path / "out", [folder], [folder], None, '{"thresholds": [100, 50]}', SMALL))
