from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.sima_plus import judge as judge_of
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from crystalseg.training import taught_judge
from crystalseg.training.confidence import Recipe, proposals
from crystalseg.training.taught_judge import learn_judge

SHOWN = draw(4, (128, 160), Structure("powder", diameter=16, spread=0.2))
ONE = annotation(Micrograph(SHOWN.image, "powder", "0" * 64), SHOWN.labels)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    for name, value in (("STEPS", 8), ("DRAWN", 1), ("DRAWN_SIDE", 96), ("MARGIN", 8)):
        monkeypatch.setattr(taught_judge, name, value)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_is_a_copy_and_the_same_each_time(models):
    before = {key: values.clone() for key, values in models["folded-confidence"].state_dict().items()}
    first, again = (learn_judge(models, "folded", [ONE]) for _ in range(2))
    assert same(first, again)
    assert not same(first, models["folded-confidence"])
    assert not first.training
    for key, values in models["folded-confidence"].state_dict().items():
        torch.testing.assert_close(values, before[key], rtol=0, atol=0)


def test_what_is_rehearsed_is_learnt_from_too(models):
    shown = draw(6, (128, 160), Structure("powder", diameter=20, spread=0.2))
    other = annotation(Micrograph(shown.image, "steel", "1" * 64), shown.labels)
    alone, with_other = (learn_judge(models, "folded", [ONE], rehearsed=known) for known in ((), [other]))
    assert not same(alone, with_other)


def test_nothing_is_learnt_from_what_was_not_checked(models):
    checked = np.zeros(SHOWN.labels.shape, bool)
    checked[:, :100] = True
    # half a crystal more or less beyond the border: its proposals are not asked for
    beyond = np.where(np.arange(160) >= 100 + 24, 0, SHOWN.labels).astype(np.int32)
    ones = [replace(ONE, labels=labels, checked=checked) for labels in (SHOWN.labels, beyond)]
    assert same(*(learn_judge(models, "folded", [one]) for one in ones))


def test_of_too_few_right_proposals_nothing_is_learnt(models):
    few = replace(ONE, labels=np.where(ONE.labels == 1, 1, 0).astype(np.int32))
    assert same(learn_judge(models, "folded", [few]), models["folded-confidence"])


def test_it_learns_what_is_no_crystal(models, monkeypatch):
    """Of two kinds of discs a person calls only one crystals: what is proposed on the other becomes less sure."""
    monkeypatch.setattr(taught_judge, "STEPS", 40)
    monkeypatch.setattr(taught_judge, "Recipe", partial(Recipe, epochs=40))
    columns = np.arange(160)[None, :].repeat(128, axis=0)
    left = annotation(ONE.micrograph, np.where(columns < 80, SHOWN.labels, 0).astype(np.int32))
    taught = learn_judge(models, "folded", [left])

    def surest(judge):
        seen = proposals(models, "folded", left.micrograph.pixels, left.labels)
        scores = judge_of(judge, seen.candidates, seen.scales, seen.pixels)
        right = np.concatenate([iou > 0.5 for iou in seen.iou])
        scores = np.concatenate(scores)
        return scores[right].mean() - scores[~right].mean()

    assert surest(taught) > surest(models["folded-confidence"])
