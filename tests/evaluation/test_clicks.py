"""The simulated user: what it tries, what it pays, and when it stops; on discs whose evidence is exact."""

import itertools

import numpy as np
import pytest

from crystalseg.evaluation.clicks import MOST, clicks_for_one, clicks_to, correct_by_truth, figures, iou_by_clicks, noc
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
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
    f, single = figures(found, seen.pixels, TRUTH)
    assert f["crystals"] == 3
    assert f["pq"] == 0.8  # two of three found whole: 2 / (2 + 1 / 2)
    assert f["clicks_85"] == f["clicks_90"] == 1
    assert f["clicks_90_in_100"] == 100 / 3
    assert sorted(single, key=lambda row: row["length"]) == [
        {"length": length, "clicks_without": 1} for length in (25.0, 61.0, 71.0)
    ]


def by_clicks(answers):
    """A network of which each answer is given: crystal 2, or part of it."""

    def answer(seen, network, inside, outside, before):
        part = answers.pop(0)
        if part is None:
            raise CorrectionError("nothing")
        asked.append((list(inside), list(outside), before is not None))
        return (slice(0, TRUTH.shape[0]), slice(0, TRUTH.shape[1])), part

    asked = []
    return answer, asked


def test_each_click_goes_where_most_is_wrong(monkeypatch):
    truth = TRUTH == 2  # a disc of 35 px about (60, 150)
    left, much = truth.copy(), truth.copy()
    left[:, 150:] = False
    much[20:40, 20:40] = True
    answer, asked = by_clicks([left, None, much, truth])
    monkeypatch.setattr("crystalseg.evaluation.clicks.clicked", answer)
    curve = iou_by_clicks(None, None, truth, enough=0.99)
    size = truth.sum()
    assert curve == pytest.approx([left.sum() / size, left.sum() / size, size / (size + 400), 1])
    first, second, third = asked
    assert first == ([(60.0, 150.0)], [], False)
    # two more inside, in the half that was missed; the answer to the first of them was none
    assert len(second[0]) == 3
    assert all(x > 150 for _, x in second[0][1:])
    assert second[2]
    ((y, x),) = third[1]
    assert 25 < y < 35
    assert 25 < x < 35
    assert (noc(curve, 0.85), noc(curve, 0.95), noc(curve, 1.1)) == (3, 4, MOST)


def test_a_network_that_draws_crystals_saves_clicks(monkeypatch):
    truth = TRUTH
    calls = []

    def draw(labels, number, point):
        calls.append(point)
        corners = ((30, 115), (30, 186), (96, 186), (96, 115))  # a box about crystal 2
        return Correction("redraw", (number,) if number else (), corners, clicks=1)

    rough = np.where(truth == 2, 0, truth)
    history = History(rough, np.ones(3, np.float32), Evidence(np.zeros((*truth.shape, 3), np.uint8), []))
    curve = correct_by_truth(history, truth, 40, draw)
    assert calls[0] == (60.0, 150.0)
    assert [c for c, _ in curve][:2] == [0, 1]
    assert history.log[0].clicks == 1
