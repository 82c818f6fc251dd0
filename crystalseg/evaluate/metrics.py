"""Panoptic quality, aggregated Jaccard index, crystal size errors (paper section IV-C). Labels: integer (H, W)."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array

from crystalseg.attention import crystal_lengths


@dataclass(frozen=True)
class Overlap:
    """Pixel counts. shared: sparse (T, P) of truth and prediction; truth (T,), predicted (P,): areas; without 0."""

    shared: coo_array
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """IoU of each overlapping pair, in the order of `shared.row`, `shared.col`."""
        both = self.shared.data
        return both / (self.truth[self.shared.row] + self.predicted[self.shared.col] - both)


def overlap(truth: np.ndarray, predicted: np.ndarray) -> Overlap:
    """Count the pixels that every true and predicted instance share; labels need not be consecutive."""
    if truth.shape != predicted.shape:
        raise ValueError(f"The label images differ in size: {truth.shape} and {predicted.shape}.")
    names_t, t = np.unique(truth, return_inverse=True)
    names_p, p = np.unique(predicted, return_inverse=True)
    counts = coo_array((np.ones(truth.size, np.int64), (t.ravel(), p.ravel())), shape=(len(names_t), len(names_p)))
    counts = counts.tocsr()  # sums duplicates
    areas_t, areas_p = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel()
    t_in, p_in = names_t != 0, names_p != 0
    return Overlap(counts[t_in][:, p_in].tocoo(), areas_t[t_in], areas_p[p_in])


def panoptic_quality(truth: np.ndarray, predicted: np.ndarray) -> float:
    """PQ = Σ IoU of matches / (TP + FP/2 + FN/2), a match having IoU > 0.5; 0..1, and 1 if both are empty."""
    return _panoptic_quality(overlap(truth, predicted))


def _panoptic_quality(counts: Overlap) -> float:
    if not len(counts.truth) and not len(counts.predicted):
        return 1.0
    # Above one half, every instance has at most one partner.
    matched = counts.iou[counts.iou > 0.5]
    return float(matched.sum() / (0.5 * (len(counts.truth) + len(counts.predicted))))


def aggregated_jaccard(truth: np.ndarray, predicted: np.ndarray) -> float:
    """AJI (Kumar et al. 2017): each true instance takes the predicted one of highest IoU; Σ intersections / Σ unions,
    the areas of predictions that nobody took added to the unions. 0..1, and 1 if both are empty."""
    return _aggregated_jaccard(overlap(truth, predicted))


def _aggregated_jaccard(counts: Overlap) -> float:
    if not len(counts.truth) and not len(counts.predicted):
        return 1.0
    iou, row, col = counts.iou, counts.shared.row, counts.shared.col
    order = np.lexsort((-iou, row))
    rows, first = np.unique(row[order], return_index=True)
    best = order[first]
    intersection = counts.shared.data[best].sum()
    union = (counts.truth[rows] + counts.predicted[col[best]] - counts.shared.data[best]).sum()
    missed = np.delete(counts.truth, rows).sum()
    unused = np.delete(counts.predicted, np.unique(col[best])).sum()
    return float(intersection / (union + missed + unused))


def average_crystal_size(labels: np.ndarray) -> float:
    """ACS: mean over crystals of 2 · sqrt(area / π), px; 0 without crystals."""
    area = np.bincount(labels.ravel())[1:]
    area = area[area > 0]
    return float(np.mean(2 * np.sqrt(area / np.pi))) if len(area) else 0.0


def score(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """All figures of one image: pq, aji (ratios), acs_true_px, acs_predicted_px, mae_acs_px, mre_acs (ratio)."""
    true_size, size = average_crystal_size(truth), average_crystal_size(predicted)
    error = abs(size - true_size)
    counts = overlap(truth, predicted)
    return {
        "pq": _panoptic_quality(counts),
        "aji": _aggregated_jaccard(counts),
        "acs_true_px": true_size,
        "acs_predicted_px": size,
        "mae_acs_px": error,
        "mre_acs": error / true_size if true_size else float(error > 0),
    }


def size_class(labels: np.ndarray, tile: int = 224) -> int:
    """The paper's class of an image (section IV-A): 1 if its largest crystal is shorter than `tile`, else 2 if the
    smallest is less than a tenth of the largest, else 3. Size: the longer side of the bounding box, px."""
    lengths = crystal_lengths(labels)
    lengths = lengths[lengths > 0]
    if not len(lengths) or lengths.max() < tile:
        return 1
    return 2 if lengths.min() / lengths.max() < 0.1 else 3
