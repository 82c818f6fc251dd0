import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.evaluate.metrics import (
    aggregated_jaccard,
    average_crystal_size,
    panoptic_quality,
    score,
    size_class,
)


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


@settings(max_examples=80, deadline=None)
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
    with pytest.raises(ValueError, match="differ in size"):
        panoptic_quality(np.zeros((2, 2), int), np.zeros((2, 3), int))


def test_the_papers_three_classes():
    labels = np.zeros((400, 400), np.int32)
    labels[:100, :100] = 1
    assert size_class(labels) == 1
    labels[150:400, :300] = 2
    assert size_class(labels) == 3
    labels[0, 200:229] = 3  # 29 of 300
    assert size_class(labels) == 2
