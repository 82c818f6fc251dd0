"""The simulated user: what it tries, what it pays, and when it stops; on discs whose evidence is exact."""

import itertools

import numpy as np

from crystalseg.evaluation.clicks import clicks_for_one, clicks_to, correct_by_truth, figures
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.corrections.history import History
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings
from tests.conftest import discs

TRUTH = discs((120, 200), [(60, 45, 30), (60, 150, 35), (20, 95, 12)])


def evidence(truth=TRUTH):
    pixels = np.repeat(np.where(truth > 0, 200, 50).astype(np.uint8)[..., None], 3, axis=2)
    foreground = np.where(truth > 0, 5.0, -5.0).astype(np.float32)
    scale = ScalePrediction(1.0, flows_from_labels(truth), foreground, np.ones(truth.shape, bool))
    return Evidence(pixels, [scale])


def corrected(labels, most=50):
    history = History(labels, np.ones(labels.max(), np.float32), evidence())
    return history, correct_by_truth(history, TRUTH, most)


def test_nothing_to_do_costs_nothing():
    _, curve = corrected(TRUTH)
    assert curve == [(0, 1.0)]


def test_a_crystal_cut_in_two_costs_one_click():
    halves = TRUTH.copy()
    halves[:, 45:][TRUTH[:, 45:] == 1] = 4
    history, curve = corrected(halves)
    assert [c for c, _ in curve] == [0, 1]
    assert history.log[0].kind == "merge"
    assert clicks_to(curve, 0.95) == 1


def test_a_missed_and_an_extra_crystal_cost_one_click_each():
    wrong = np.where(TRUTH == 3, 0, TRUTH)
    wrong[100:110, 5:15] = 4
    history, curve = corrected(wrong)
    assert curve[-1][0] == 2
    assert sorted(c.kind for c in history.log) == ["add", "delete"]
    assert curve[-1][1] > 0.98


def test_two_in_one_are_split_by_two_clicks():
    truth = discs((80, 140), [(40, 40, 30), (40, 98, 30)])
    history = History((truth > 0).astype(np.int32), np.ones(1, np.float32), evidence(truth))
    curve = correct_by_truth(history, truth, 50)
    assert [(c.kind, len(c.points)) for c in history.log] == [("split", 2)]
    assert curve[-1][0] == 2
    assert curve[-1][1] > 0.95


def test_a_rough_outline_is_drawn_again():
    rough = np.where(TRUTH == 2, 0, TRUTH)
    rough[40:85, 120:180] = 2  # a box in place of a disc of 35 px
    assert 0.5 < panoptic_quality(TRUTH, rough) < 0.95
    history, curve = corrected(rough)
    assert [(c.kind, c.ids) for c in history.log] == [("redraw", (2,))]
    assert curve[-1][0] == len(history.log[0].points)
    assert curve[-1][1] > curve[0][1]


def test_quality_never_falls_and_the_limit_holds():
    wrong = np.roll(TRUTH, 20, axis=1)
    _, curve = corrected(wrong, most=3)
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(curve))
    assert clicks_to(curve, 1.1) is None


def test_one_crystal_needs_one_click_where_the_flow_shows_it_and_an_outline_elsewhere():
    assert clicks_for_one(TRUTH.shape, evidence(), TRUTH == 2) == 1
    blank = Evidence(np.zeros((*TRUTH.shape, 3), np.uint8), [])
    assert clicks_for_one(TRUTH.shape, blank, TRUTH == 2) > 4


def test_figures_of_an_image():
    seen = evidence()
    fused = Prediction(seen.scales[0].flow, seen.scales[0].foreground)
    labels = np.where(TRUTH == 3, 0, TRUTH)
    found = Segmentation(labels, np.ones(2, np.float32), fused, tuple(seen.scales), None, Settings(), {}, {}, {})
    f = figures(found, seen.pixels, TRUTH)
    assert f["crystals"] == 3
    assert f["pq"] == 0.8  # two of three found whole: 2 / (2 + 1 / 2)
    assert f["clicks_85"] == f["clicks_90"] == 1
    assert f["clicks_90_in_100"] == 100 / 3
    assert (f["clicks_one"], f["one_click"]) == (1, 1)
