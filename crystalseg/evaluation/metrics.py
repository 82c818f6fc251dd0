"""Measure how well predicted crystals agree with true ones: regions, lines, counts and sizes (paper section IV-C).

Labels are integer (H, W), 0 = background, and need not be consecutive.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.stats import ks_2samp
from skimage.morphology import skeletonize
from skimage.segmentation import expand_labels, find_boundaries

from crystalseg.errors import UserError
from crystalseg.measurement.diameter import diameters, equivalent_diameter
from crystalseg.micrographs.labels import BOUNDARY_WIDTH, areas

IOU_THRESHOLDS = np.arange(0.5, 0.96, 0.05)


@dataclass(frozen=True)
class Overlap:
    """Pixel counts without label 0. shared: sparse (T, P) of truth and prediction; truth (T,), predicted (P,):
    areas."""

    shared: coo_array
    truth: np.ndarray
    predicted: np.ndarray

    @property
    def iou(self) -> np.ndarray:
        """Return the IoU of each overlapping pair, in the order of `shared.row`, `shared.col`."""
        both = self.shared.data
        return both / (self.truth[self.shared.row] + self.predicted[self.shared.col] - both)


def overlap(truth: np.ndarray, predicted: np.ndarray) -> Overlap:
    """Count the pixels that each pair of true and predicted instances shares; labels need not be consecutive."""
    if truth.shape != predicted.shape:
        raise UserError(f"The label images differ in size: {truth.shape} and {predicted.shape}.")
    names_t, t = _consecutive(truth)
    names_p, p = _consecutive(predicted)
    counts = coo_array((np.ones(truth.size, np.int64), (t, p)), shape=(len(names_t), len(names_p)))
    counts = counts.tocsr()  # sums duplicates
    areas_t, areas_p = np.asarray(counts.sum(axis=1)).ravel(), np.asarray(counts.sum(axis=0)).ravel()
    t_in, p_in = names_t != 0, names_p != 0
    return Overlap(counts[t_in][:, p_in].tocoo(), areas_t[t_in], areas_p[p_in])


def _consecutive(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels that occur, ascending, and the index of each pixel's label among them (flat, int64)."""
    there = areas(labels) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[labels.ravel()]


def panoptic_quality(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return PQ = Σ IoU of matches / (TP + FP/2 + FN/2), a match having IoU > 0.5; 0..1, and 1 if both are empty."""
    return _panoptic_quality(overlap(truth, predicted))


def _panoptic_quality(counts: Overlap) -> float:
    if not len(counts.truth) and not len(counts.predicted):
        return 1.0
    # Above an IoU of one half, every instance has at most one partner.
    matched = counts.iou[counts.iou > 0.5]
    return float(matched.sum() / (0.5 * (len(counts.truth) + len(counts.predicted))))


def _aggregated_jaccard(counts: Overlap) -> float:
    """Return AJI (Kumar et al. 2017): each true instance takes the predicted one of highest IoU; Σ intersections /
    Σ unions, where the areas of predictions that were never taken add to the unions. 0..1, and 1 if both are empty."""
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
    """Return ACS, the mean of `diameters`, px; 0 without crystals."""
    sizes = diameters(labels)
    return float(sizes.mean()) if len(sizes) else 0.0


def detections(counts: Overlap, thresholds: np.ndarray = IOU_THRESHOLDS) -> dict[str, np.ndarray]:
    """Return precision TP/(TP+FP), recall TP/(TP+FN) and ap TP/(TP+FP+FN) (average precision in the cell literature) at
    each IoU threshold of at least 0.5, where a match is unique; (K,) each, 1 if truth and prediction are both empty."""
    true, predicted = len(counts.truth), len(counts.predicted)
    iou = counts.iou
    # IoU must exceed 0.5, as in PQ; the small margin applies the same rule at every threshold
    hits = np.array([(iou > t + 1e-9).sum() for t in thresholds], float)
    empty = float(not true and not predicted)
    return {
        "precision": hits / predicted if predicted else np.full(len(hits), empty),
        "recall": hits / true if true else np.full(len(hits), empty),
        "ap": hits / (true + predicted - hits) if true + predicted else np.ones(len(hits)),
    }


def merges_and_splits(counts: Overlap) -> tuple[int, int]:
    """Return the numbers of merges and splits. Merges: the true crystals of which more than half lies in a prediction
    that also holds others, less one for each such prediction. Splits: the same with the roles exchanged."""

    def surplus(owner: np.ndarray, share: np.ndarray) -> int:
        inside = np.bincount(owner[share > 0.5])
        return int(np.maximum(inside - 1, 0).sum())

    row, col, both = counts.shared.row, counts.shared.col, counts.shared.data
    return surplus(col, both / counts.truth[row]), surplus(row, both / counts.predicted[col])


def by_octave(counts: Overlap) -> dict[int, np.ndarray]:
    """Return the matches by octave: {k: (Σ IoU, TP, FP, FN)} for diameters of 2^k up to 2^(k+1) px.

    Hits and misses are counted at the true diameter, false alarms at their own. The sums of several images may be
    added; `octave_quality` gives their PQ.
    """
    true, predicted = (np.floor(np.log2(equivalent_diameter(a))).astype(int) for a in (counts.truth, counts.predicted))
    match = counts.iou > 0.5
    rows, cols = counts.shared.row[match], counts.shared.col[match]
    missed, extra = np.delete(true, rows), np.delete(predicted, cols)
    table = {}
    for k in np.union1d(true, predicted):
        own = true[rows] == k
        table[int(k)] = np.array([counts.iou[match][own].sum(), own.sum(), (extra == k).sum(), (missed == k).sum()])
    return table


def octave_quality(sums: np.ndarray) -> float:
    """Return PQ from (Σ IoU, TP, FP, FN); 1 if all are 0."""
    iou, hits, extra, missed = sums
    weight = hits + 0.5 * (extra + missed)
    return float(iou / weight) if weight else 1.0


def boundary_lines(labels: np.ndarray, width: int = BOUNDARY_WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Return crystal boundaries as lines of `width` px and their one-pixel skeleton, bool (H, W) each.

    Crystals separated by an unlabelled line of up to `width` px share one boundary in its middle.
    """
    edges = find_boundaries(expand_labels(labels, (width + 1) / 2), mode="thick")
    skeleton = skeletonize(edges)
    if not skeleton.any():
        return skeleton, skeleton
    return distance_transform_edt(~skeleton) <= width / 2, skeleton


def centreline_dice(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return clDice of the crystal boundaries (Shit et al. 2021): the harmonic mean of the share of the predicted
    skeleton on true lines and the share of the true skeleton on predicted lines; 0..1, and 1 if there are no lines."""
    (lines, skeleton), (found_lines, found_skeleton) = boundary_lines(truth), boundary_lines(predicted)
    if not skeleton.any() and not found_skeleton.any():
        return 1.0
    if not skeleton.any() or not found_skeleton.any():
        return 0.0
    precise, complete = lines[found_skeleton].mean(), found_lines[skeleton].mean()
    return float(2 * precise * complete / (precise + complete)) if precise + complete else 0.0


def size_distance(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the Kolmogorov–Smirnov distance between true and measured number-weighted size distributions, 0..1."""
    true, measured = diameters(truth), diameters(predicted)
    if not len(true) or not len(measured):
        return float(len(true) != len(measured))
    return float(ks_2samp(true, measured, method="asymp").statistic)


def score(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return all figures of one image.

    pq, aji, cldice, ks: 0..1. precision, recall: at IoU 0.5; ap50: at IoU 0.5; ap: mean over IoU 0.5 to 0.95.
    count_true, count_predicted; count_error: their difference, relative. merges, splits: numbers of crystals.
    acs_true_px, acs_predicted_px; mae_acs_px, mre_acs: absolute and relative error of the average crystal size.
    """
    true_size, size = average_crystal_size(truth), average_crystal_size(predicted)
    error = abs(size - true_size)
    counts = overlap(truth, predicted)
    at_thresholds = detections(counts)
    merges, splits = merges_and_splits(counts)
    true_count, count = len(counts.truth), len(counts.predicted)
    return {
        "pq": _panoptic_quality(counts),
        "aji": _aggregated_jaccard(counts),
        "cldice": centreline_dice(truth, predicted),
        "precision": float(at_thresholds["precision"][0]),
        "recall": float(at_thresholds["recall"][0]),
        "ap50": float(at_thresholds["ap"][0]),
        "ap": float(at_thresholds["ap"].mean()),
        "count_true": float(true_count),
        "count_predicted": float(count),
        "count_error": abs(count - true_count) / true_count if true_count else float(count > 0),
        "merges": float(merges),
        "splits": float(splits),
        "ks": size_distance(truth, predicted),
        "acs_true_px": true_size,
        "acs_predicted_px": size,
        "mae_acs_px": error,
        "mre_acs": error / true_size if true_size else float(error > 0),
    }
