"""Find where two segmentations differ: crystals that agree, were split, merged or missed, or are extra."""

from dataclasses import dataclass

import numpy as np

from crystalseg.evaluation.metrics import overlap

AGREE, SPLIT, MERGED, MISSED, EXTRA = NAMES = ("agree", "split", "merged", "missed", "extra")


@dataclass(frozen=True)
class Difference:
    """The difference of two segmentations. map: uint8 (H, W), 0 = neither has a crystal, else 1 + the index in NAMES;
    counts: number of crystals of each kind.

    Crystals of the reference: agree (has a partner with IoU > 0.5), split (at least two crystals of the other lie
    mostly in it), merged (lies mostly in a crystal of the other that holds others as well), missed (none of these).
    Crystals of the other: extra (no partner, and not a piece of a split crystal).
    """

    map: np.ndarray
    counts: dict[str, int]


def difference(reference: np.ndarray, other: np.ndarray) -> Difference:
    """Compare two label images, integer (H, W). Raises UserError if their sizes differ."""
    counts = overlap(reference, other)
    iou, row, col, both = counts.iou, counts.shared.row, counts.shared.col, counts.shared.data
    n, m = len(counts.truth), len(counts.predicted)
    matched, matched_other = np.zeros(n, bool), np.zeros(m, bool)
    matched[row[iou > 0.5]] = matched_other[col[iou > 0.5]] = True
    inside = both > 0.5 * counts.truth[row]  # a crystal of the reference lies mostly in one of the other
    holds = np.bincount(col[inside], minlength=m)
    piece = both > 0.5 * counts.predicted[col]  # and vice versa
    pieces = np.bincount(row[piece], minlength=n)
    kind = np.full(n, NAMES.index(MISSED))
    kind[row[inside & (holds[col] > 1)]] = NAMES.index(MERGED)
    kind[pieces > 1] = NAMES.index(SPLIT)
    kind[matched] = NAMES.index(AGREE)
    extra = ~matched_other
    extra[col[piece & (pieces[row] > 1)]] = False
    extra[holds > 1] = False
    numbers = {name: int((kind == k).sum()) for k, name in enumerate(NAMES)}
    numbers[EXTRA] = int(extra.sum())
    return Difference(_map(reference, other, kind, extra), numbers)


def _map(reference: np.ndarray, other: np.ndarray, kind: np.ndarray, extra: np.ndarray) -> np.ndarray:
    of_other = np.zeros(int(other.max(initial=0)) + 1, np.uint8)
    of_other[np.setdiff1d(np.unique(other), 0)] = np.where(extra, 1 + NAMES.index(EXTRA), 0)
    of_reference = np.zeros(int(reference.max(initial=0)) + 1, np.uint8)
    of_reference[np.setdiff1d(np.unique(reference), 0)] = 1 + kind
    return np.where(reference > 0, of_reference[reference], of_other[other])
