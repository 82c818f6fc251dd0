"""Select the proposals that become crystals: the surest first, unless a surer one is already there."""

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np

from crystalseg.segmentation.masks import nearest

# Share of a proposal that surer ones must leave, in one piece; a ring around a crystal of a finer scale does not count.
LEAST_LEFT = 0.7


class Shapes(Protocol):
    """The masks to select from, as in masks.py: the masks in an image of `shape`, and their boxes."""

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def boxes(self) -> np.ndarray: ...

    def mask(self, index: int) -> np.ndarray:
        """Return a mask, bool (h, w), within its box."""


def select(
    masks: Sequence[Shapes],
    scores: Sequence[np.ndarray],
    shape: tuple[int, int],
    min_area: int,
    lowest: float,
    least_left: float = LEAST_LEFT,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take proposals with a score of at least `lowest`, the best first, where they do not overlap those already taken.

    `masks`: the proposals of each scale; `scores`: their scores, (n,) per scale; `least_left`: the share of a proposal
    that must remain, in one piece. Returns labels int32 (H, W), 0 = background, 1..n by descending score; their scores
    float32 (n,); and the source of each, int (n, 2): the index in `masks`, and its number there, from 0.
    """
    taken = np.zeros(shape, np.int32)
    source = np.concatenate([np.full(len(s), k) for k, s in enumerate(scores)])
    number = np.concatenate([np.arange(len(s)) for s in scores])
    score = np.concatenate(scores)
    order = np.lexsort((number, source, -score))
    won = []
    for at in order[: np.count_nonzero(score >= lowest)].tolist():
        own, k = masks[source[at]], int(number[at])
        rows, columns, mask = full_size(own.mask(k), own.boxes[k].tolist(), own.shape, shape)
        here = taken[rows, columns]
        area = np.count_nonzero(mask)
        least = max(min_area, least_left * area)
        free = mask & (here == 0)
        left = np.count_nonzero(free)
        if left < least:
            continue
        if left < area:
            free = largest_piece(free)
            if np.count_nonzero(free) < least:
                continue
        won.append(at)
        here[free] = len(won)
    return taken, score[won].astype(np.float32), np.column_stack((source[won], number[won])).astype(int)


def full_size(
    mask: np.ndarray, box: Sequence[int], own: tuple[int, int], shape: tuple[int, int]
) -> tuple[slice, slice, np.ndarray]:
    """Return a mask, bool (h, w) at `box` (top, left, bottom, right) of an image of size `own`, at the resolution of
    `shape` with smooth edges: rows, columns (slices) and bool mask."""
    edges = list(zip(box[:2], box[2:], strict=True))
    if own == tuple(shape):
        return slice(*edges[0]), slice(*edges[1]), mask
    zoom = [full / part for full, part in zip(shape, own, strict=True)]
    slices, first = [], []
    for (low, high), z, full in zip(edges, zoom, shape, strict=True):
        start, stop = max(0, int((low - 1) * z)), min(full, int(np.ceil((high + 1) * z)))
        slices.append(slice(start, stop))
        # coordinate in the part of the first full pixel; both are counted from pixel centres
        first.append((start + 0.5) / z - 0.5 - low)
    part = mask.astype(np.float32)
    matrix = np.array([[1 / zoom[1], 0, first[1]], [0, 1 / zoom[0], first[0]]])
    size = (slices[1].stop - slices[1].start, slices[0].stop - slices[0].start)
    # The crystal continues beyond the image border, but not beyond the other sides of its box.
    padded = np.pad(part, 1)
    for axis, ((low, high), length) in enumerate(zip(edges, own, strict=True)):
        view = np.moveaxis(padded, axis, 0)
        if low == 0:
            view[0] = view[1]
        if high == length:
            view[-1] = view[-2]
    matrix[:, 2] += 1
    grown = cv2.warpAffine(padded, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return slices[0], slices[1], grown >= 0.5


def largest_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest 4-connected piece of a mask, bool (h, w)."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return pieces == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]) if len(stats) > 1 else mask


def winners(labels: np.ndarray, origin: np.ndarray, count: int, longest: int = 448) -> np.ndarray:
    """Return which scale won where, as maps like the attention: float32 (count + 1, h, w), the last for background."""
    factor = min(1.0, longest / max(labels.shape))
    size = (max(1, round(labels.shape[1] * factor)), max(1, round(labels.shape[0] * factor)))
    of = np.concatenate(([count], origin)).astype(int)[nearest(labels, size[::-1])]
    return (of == np.arange(count + 1)[:, None, None]).astype(np.float32)
