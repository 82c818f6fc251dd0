"""Share the boundaries between grains that fill the area: half of each belongs to the grain on either side.

The pixels that segmentation leaves unlabelled between two grains are their etched boundary, not a phase of its own.
Narrow gaps are therefore given to the nearest grain before anything is measured, so that the area, diameter, intercept
and G of one image agree. The width of a gap is judged across it, by the discs that fit into it, not along a test line.
Particles in a matrix, pores and cracks keep their outlines.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from crystalseg.measurement.diameter import diameters

# A gap is a boundary if no disc of radius r fits into it; r = 1 px + RELATIVE[convention] · median diameter of what is
# labelled, at most WIDEST. Grains of 40 px with boundaries of 12 px have labels of 28 px and gaps of radius 6 px. On
# the labelled images tried, no grain boundary leaves a wider gap, and narrower gaps between particles are rare.
RELATIVE = {2: 0.2, 3: 0.3}
WIDEST = 8.0  # px
# Grains fill the area if they cover this share of it together with their boundaries. On labelled images, polycrystals
# cover at least 0.999 and powders at most 0.82. On drawn images, grains whose boundaries (nearly a third of the grain
# size wide) are left out cover 0.89.
FILLED = 0.85
BAND = 2048  # rows per band; bounds the memory that large images need
# In convention 1, before crystalseg 0.2, no gap belonged to a grain. Convention 2 left wide boundaries of small grains
# open.
CONVENTION = 3


def radius(labels: np.ndarray, convention: int = CONVENTION) -> float:
    """Return the radius, px, of the largest disc that fits into a boundary between the grains of labels (H, W)."""
    sizes = diameters(labels)
    return float(min(WIDEST, 1 + RELATIVE[convention] * np.median(sizes))) if len(sizes) else 0.0


def with_boundaries(labels: np.ndarray, convention: int = CONVENTION) -> np.ndarray:
    """Return the labels with the boundaries shared between neighbouring grains if the grains fill the area.

    `labels` is an integer array (H, W), 0 = none. If the grains do not fill the area, or leave no gap, or in
    convention 1, return the same array object.
    """
    if convention == 1 or labels.all() or not labels.any():
        return labels
    widest = radius(labels, convention)
    uncovered = sum(int((part == 0).sum()) for _, part in _bands(labels, widest))
    if 1 - uncovered / labels.size < FILLED:
        return labels
    grown = np.empty_like(labels)
    for rows, part in _bands(labels, widest):
        grown[rows] = part
    return grown


def _bands(labels: np.ndarray, widest: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield one band of rows at a time: which rows they are, and the labels with their narrow gaps closed."""
    margin = int(np.ceil(3 * widest)) + 2  # pixels further away have no influence
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
