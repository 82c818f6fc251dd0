"""The boundaries of grains that fill the area: half of each belongs to the grain on either side.

What segmentation leaves unlabelled between two grains is their boundary as it was etched, not a phase of its own. So
narrow gaps are given to the nearest grain before anything is measured, and area, diameter, intercept and G of one image
agree. How wide a gap is, is judged across it, by the discs that fit into it, not along a test line. Particles in a
matrix, pores and cracks stay as they are outlined.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from crystalseg.measurement.diameter import diameters

# A gap into which no disc of the radius r fits is a boundary; r = 1 px + RELATIVE · median diameter, at most WIDEST.
# Wider gaps than these are not left by the boundaries of grains on any labelled image tried, narrower ones between
# particles are rare.
RELATIVE = 0.2
WIDEST = 8.0  # px
# Grains fill the area if they cover this share of it with their boundaries. Of labelled images, polycrystals cover
# 0.999 or more and powders 0.82 at most; of drawn ones, grains without boundaries of nearly a third of their size 0.89.
FILLED = 0.85
BAND = 2048  # rows at a time, so that memory stays within bounds on large images
CONVENTION = 2  # 1: before crystalseg 0.2, no gap belonged to a grain


def radius(labels: np.ndarray) -> float:
    """Of the largest disc, px, that fits into a boundary between the grains of labels (H, W)."""
    sizes = diameters(labels)
    return float(min(WIDEST, 1 + RELATIVE * np.median(sizes))) if len(sizes) else 0.0


def with_boundaries(labels: np.ndarray) -> np.ndarray:
    """The labels, integer (H, W), 0 = none, with the boundaries of grains that fill the area shared by their
    neighbours; the very same array if they do not fill it, or leave no gap."""
    if labels.all() or not labels.any():
        return labels
    widest = radius(labels)
    uncovered = sum(int((part == 0).sum()) for _, part in _bands(labels, widest))
    if 1 - uncovered / labels.size < FILLED:
        return labels
    grown = np.empty_like(labels)
    for rows, part in _bands(labels, widest):
        grown[rows] = part
    return grown


def _bands(labels: np.ndarray, widest: float) -> Iterator[tuple[slice, np.ndarray]]:
    """The labels with their narrow gaps closed, a band of rows at a time, and which rows these are."""
    margin = int(np.ceil(3 * widest)) + 2  # what lies further has no say
    for top in range(0, len(labels), BAND):
        bottom, start = min(top + BAND, len(labels)), max(0, top - margin)
        part = _closed(labels[start : bottom + margin], widest)
        yield slice(top, bottom), part[top - start : bottom - start]


def _closed(labels: np.ndarray, widest: float) -> np.ndarray:
    gap = (labels == 0).astype(np.uint8)
    if not gap.any() or gap.all():
        return labels
    away, nearest = cv2.distanceTransformWithLabels(gap, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    middles = away > widest
    wide = cv2.distanceTransform((~middles).astype(np.uint8), cv2.DIST_L2, 5) <= widest if middles.any() else middles
    names = np.zeros(int(nearest.max()) + 1, labels.dtype)
    grains = gap == 0
    names[nearest[grains]] = labels[grains]
    return np.where(wide, 0, names[nearest])
