import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.evaluation.metrics import (
    IOU_THRESHOLDS,
    average_crystal_size,
    boundary_lines,
    by_octave,
    centreline_dice,
    detections,
    merges_and_splits,
    octave_quality,
    overlap,
    panoptic_quality,
    score,
    size_distance,
)
from crystalseg.micrographs.labels import homogeneity, size_class


def aggregated_jaccard(truth, predicted):
    return score(truth, predicted)["aji"]


def slow_iou(truth, predicted):
    t, p = (np.unique(x[x > 0]) for x in (truth, predicted))
    table = np.zeros((len(t), len(p)))
    for i, a in enumerate(t):
        for j, b in enumerate(p):
            table[i, j] = ((truth == a) & (predicted == b)).sum() / ((truth == a) | (predicted == b)).sum()
    return t, p, table


def slow_pq(truth, predicted):
    t, p, table = slow_iou(truth, predicted)
    if not len(t) and not len(p):
        return 1.0
    hits = table[table > 0.5]
    return hits.sum() / (len(hits) + 0.5 * (len(p) - len(hits)) + 0.5 * (len(t) - len(hits)))


def slow_aji(truth, predicted):
    """Kumar et al. 2017, algorithm 1."""
    t, p, table = slow_iou(truth, predicted)
    if not len(t) and not len(p):
        return 1.0
    intersection = union = 0
    used = set()
    for i, a in enumerate(t):
        if len(p) and table[i].max() > 0:
            j = int(table[i].argmax())
            used.add(j)
            intersection += ((truth == a) & (predicted == p[j])).sum()
            union += ((truth == a) | (predicted == p[j])).sum()
        else:
            union += (truth == a).sum()
    union += sum((predicted == b).sum() for j, b in enumerate(p) if j not in used)
    return intersection / union


label_images = st.integers(0, 2**32).map(
    lambda seed: np.kron(np.random.default_rng(seed).integers(0, 5, (6, 6)), np.ones((3, 3), int)).astype(np.int32)
)


@settings(max_examples=80)
@given(label_images, label_images, st.integers(0, 17))
def test_against_the_slow_versions(truth, other, shift):
    for predicted in (other, np.roll(truth, shift, axis=1), np.where(other > 2, truth, 0)):
        assert panoptic_quality(truth, predicted) == pytest.approx(slow_pq(truth, predicted))
        t, p, table = slow_iou(truth, predicted)
        ties = any((np.isclose(row, row.max()) & (row > 0)).sum() > 1 for row in table) if len(t) and len(p) else False
        if not ties:
            assert aggregated_jaccard(truth, predicted) == pytest.approx(slow_aji(truth, predicted))


def rows(*runs):
    """Labels of one row: pairs (label, length)."""
    return np.concatenate([np.full(n, label, np.int32) for label, n in runs])[None]


def test_by_hand():
    truth = rows((1, 4), (2, 4), (0, 2), (3, 2))
    predicted = rows((1, 3), (2, 5), (0, 2), (0, 1), (4, 1))
    # IoU: 1–1 3/4, 2–2 4/5, 3–4 1/2 (no match)
    assert panoptic_quality(truth, predicted) == pytest.approx((3 / 4 + 4 / 5) / (2 + 1 / 2 + 1 / 2))
    # AJI: (3 + 4 + 1) / (4 + 5 + 2)
    assert aggregated_jaccard(truth, predicted) == pytest.approx(8 / 11)


def test_a_merge_and_a_split_by_hand():
    truth = rows((1, 6), (2, 4))
    assert panoptic_quality(truth, rows((1, 10))) == pytest.approx((6 / 10) / (1 + 1 / 2))
    assert panoptic_quality(rows((1, 10)), truth) == pytest.approx((6 / 10) / (1 + 1 / 2))


def test_extremes():
    empty, one = rows((0, 5)), rows((1, 5))
    assert panoptic_quality(empty, empty) == aggregated_jaccard(empty, empty) == 1
    assert panoptic_quality(one, empty) == aggregated_jaccard(one, empty) == 0
    assert panoptic_quality(empty, one) == aggregated_jaccard(empty, one) == 0
    assert panoptic_quality(one, one * 7) == aggregated_jaccard(one, one * 7) == 1


def test_sizes_by_hand():
    truth, predicted = rows((1, 4), (2, 16)), rows((1, 9), (0, 11))
    figures = score(truth, predicted)
    unit = 2 / np.sqrt(np.pi)
    assert average_crystal_size(truth) == pytest.approx(3 * unit)
    assert figures["acs_predicted_px"] == pytest.approx(3 * unit)
    assert figures["mae_acs_px"] == pytest.approx(0)
    assert score(truth, rows((5, 20)))["mre_acs"] == pytest.approx(np.sqrt(20) / 3 - 1)


def test_sizes_must_agree():
    with pytest.raises(UserError, match="differ in size"):
        panoptic_quality(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_the_papers_three_classes():
    labels = np.zeros((400, 400), np.int32)
    labels[:100, :100] = 1
    assert size_class(labels) == 1
    labels[150:400, :300] = 2
    assert size_class(labels) == 3
    labels[0, 200:229] = 3  # 29 of 300
    assert size_class(labels) == 2


def test_homogeneity_is_smallest_by_largest():
    labels = np.zeros((60, 60), np.int32)
    assert homogeneity(labels) == 1
    labels[:5, :3] = 1
    labels[10:30, 10:60] = 2
    assert homogeneity(labels) == pytest.approx(5 / 50)


@settings(max_examples=60)
@given(label_images, label_images)
def test_detections_against_the_slow_iou(truth, predicted):
    t, p, table = slow_iou(truth, predicted)
    found = detections(overlap(truth, predicted))
    for k, threshold in enumerate(IOU_THRESHOLDS):
        hits = (table > threshold + 1e-9).sum()
        assert found["ap"][k] == pytest.approx(hits / (len(t) + len(p) - hits) if len(t) + len(p) else 1)
        assert found["recall"][k] == pytest.approx(hits / len(t) if len(t) else len(p) == 0)
        assert found["precision"][k] == pytest.approx(hits / len(p) if len(p) else len(t) == 0)


def test_merges_and_splits_by_hand():
    # predictions: 1 swallows the true 1 and 2; the true 3 is cut into 2, 3 and 4
    truth = rows((1, 4), (2, 4), (3, 9), (4, 2))
    predicted = rows((1, 8), (2, 3), (3, 3), (4, 3), (0, 2))
    assert merges_and_splits(overlap(truth, predicted)) == (1, 2)
    assert merges_and_splits(overlap(predicted, truth)) == (2, 1)
    assert merges_and_splits(overlap(truth, truth)) == (0, 0)


@settings(max_examples=60)
@given(label_images, label_images)
def test_octaves_add_up_to_the_whole(truth, predicted):
    table = by_octave(overlap(truth, predicted))
    total = sum(table.values(), np.zeros(4))
    t, p, iou = slow_iou(truth, predicted)
    hits = (iou > 0.5).sum()
    assert tuple(total[1:]) == (hits, len(p) - hits, len(t) - hits)
    assert octave_quality(total) == pytest.approx(panoptic_quality(truth, predicted))


def test_octaves_by_hand():
    # areas 4 and 60: diameters 2.26 and 8.7 px, octaves 1 and 3; a false alarm of 16 px²: 4.5 px, octave 2
    truth, predicted = rows((1, 4), (2, 60), (0, 16)), rows((0, 4), (2, 45), (0, 15), (3, 16))
    table = by_octave(overlap(truth, predicted))
    assert {k: tuple(v) for k, v in table.items()} == {1: (0, 0, 0, 1), 3: (0.75, 1, 0, 0), 2: (0, 0, 1, 0)}


def test_centreline_dice_by_hand():
    halves = np.ones((40, 40), np.int32)
    halves[:, 20:] = 2
    moved = np.ones((40, 40), np.int32)
    moved[:, 22:] = 2
    far = np.ones((40, 40), np.int32)
    far[:, 30:] = 2
    assert centreline_dice(halves, halves) == 1
    assert centreline_dice(halves, moved) == pytest.approx(1)  # 2 px away, on a line of 5 px
    assert centreline_dice(halves, far) == 0
    assert centreline_dice(halves, np.ones_like(halves)) == 0
    quarters = halves.copy()
    quarters[20:, :20] = 3
    # all of the prediction is right (up to the junction), but only two of the three arms are there
    assert centreline_dice(quarters, halves) == pytest.approx(2 * (2 / 3) / (1 + 2 / 3), abs=0.03)


def test_one_line_where_a_gap_separates():
    labels = np.ones((30, 40), np.int32)
    labels[:, 18:23] = 0
    labels[:, 23:] = 2
    lines, skeleton = boundary_lines(labels)
    assert skeleton[15].sum() == 1
    assert lines[15].sum() == 5


def test_size_distance_against_scipy_and_by_hand():
    a, b = rows((1, 4), (2, 16), (3, 9)), rows((1, 4), (0, 25))
    assert size_distance(a, b) == pytest.approx(2 / 3)
    assert size_distance(a, a) == 0
    assert size_distance(a, rows((0, 29))) == 1
    assert size_distance(rows((0, 3)), rows((0, 3))) == 0


def test_counts_by_hand():
    figures = score(rows((1, 4), (2, 6)), rows((1, 4), (2, 3), (3, 3)))
    assert figures["count_error"] == pytest.approx(1 / 2)
    assert (figures["merges"], figures["splits"]) == (0, 1)
    assert figures["precision"] == pytest.approx(1 / 3)
    assert figures["recall"] == pytest.approx(1 / 2)
    assert figures["ap50"] == pytest.approx(1 / 4)
