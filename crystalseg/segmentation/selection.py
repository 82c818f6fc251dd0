"""Which proposals become crystals: the surest first, where no surer one lies."""

from collections.abc import Sequence

import cv2
import numpy as np
from scipy import ndimage

from crystalseg.segmentation.proposals import Candidates

# A proposal is refused if more than this share of it is taken already.
MOST_TAKEN = 0.5


def select(
    candidates: Sequence[Candidates], scores: Sequence[np.ndarray], shape: tuple[int, int], min_area: int, lowest: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take proposals of at least `lowest` score, the best first, where they do not lie on those taken before.

    Returns labels int32 (H, W), 0 = background, 1..n by descending score; their scores float32 (n,); and what each was:
    int (n, 2), which of the `candidates` and its label there.
    """
    taken = np.zeros(shape, np.int32)
    order = [
        (-score, k, label)
        for k, values in enumerate(scores)
        for label, score in enumerate(values.tolist(), start=1)
        if score >= lowest
    ]
    boxes = [ndimage.find_objects(c.labels) for c in candidates]
    won = []
    for negative, k, label in sorted(order):
        rows, columns, mask = full_size(candidates[k].labels, label, boxes[k][label - 1], shape)
        here = taken[rows, columns]
        area = np.count_nonzero(mask)
        free = mask & (here == 0)
        left = np.count_nonzero(free)
        if left < max(min_area, (1 - MOST_TAKEN) * area):
            continue
        if left < area:
            free = _largest_piece(free)
            if np.count_nonzero(free) < min_area:
                continue
        won.append((-negative, k, label))
        here[free] = len(won)
    chosen = np.array([w[1:] for w in won], int).reshape(-1, 2)
    return taken, np.array([w[0] for w in won], np.float32), chosen


def full_size(
    labels: np.ndarray, label: int, box: tuple[slice, slice], shape: tuple[int, int]
) -> tuple[slice, slice, np.ndarray]:
    """One label's mask at the image's resolution, with smooth edges: rows, columns (slices) and bool mask."""
    if labels.shape == tuple(shape):
        return box[0], box[1], labels[box] == label
    zoom = [full / part for full, part in zip(shape, labels.shape, strict=True)]
    slices, first = [], []
    for edge, z, full in zip(box, zoom, shape, strict=True):
        start, stop = max(0, int((edge.start - 1) * z)), min(full, int(np.ceil((edge.stop + 1) * z)))
        slices.append(slice(start, stop))
        # the part's coordinate of the first full pixel, both counted from pixel centres
        first.append((start + 0.5) / z - 0.5 - edge.start)
    part = (labels[box] == label).astype(np.float32)
    matrix = np.array([[1 / zoom[1], 0, first[1]], [0, 1 / zoom[0], first[0]]])
    size = (slices[1].stop - slices[1].start, slices[0].stop - slices[0].start)
    # At the image's border the crystal goes on, elsewhere there is nothing beyond its box.
    padded = np.pad(part, 1)
    for axis, (edge, length) in enumerate(zip(box, labels.shape, strict=True)):
        view = np.moveaxis(padded, axis, 0)
        if edge.start == 0:
            view[0] = view[1]
        if edge.stop == length:
            view[-1] = view[-2]
    matrix[:, 2] += 1
    grown = cv2.warpAffine(padded, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return slices[0], slices[1], grown >= 0.5


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return pieces == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if len(stats) > 1 else mask


def winners(labels: np.ndarray, origin: np.ndarray, count: int, longest: int = 448) -> np.ndarray:
    """Which scale won where, as maps like the attention's: float32 (count + 1, h, w), the last for the background."""
    factor = min(1.0, longest / max(labels.shape))
    size = (max(1, round(labels.shape[1] * factor)), max(1, round(labels.shape[0] * factor)))
    small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    of = np.concatenate(([count], origin)).astype(int)[small]
    return (of == np.arange(count + 1)[:, None, None]).astype(np.float32)
