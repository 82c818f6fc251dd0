"""Masks of many crystals at one resolution: as a label image, or packed if an image is too large for several of those.

Both classes provide `shape` (h, w), `boxes` int32 (n, 4), (top, left, bottom, right) with ends excluded, and the `mask`
of each crystal, numbered from 0. `overlaps` compares the masks of two resolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from scipy import ndimage
from scipy.sparse import coo_array, csr_array


class LabelMasks:
    """The masks of labels int32 (h, w), 0 = background, 1..n."""

    def __init__(self, labels: np.ndarray):
        self.labels = labels
        self.shape: tuple[int, int] = labels.shape

    @cached_property
    def boxes(self) -> np.ndarray:
        return boxes_of(self.labels)

    def mask(self, index: int) -> np.ndarray:
        """Return a mask, bool (h, w), within its box."""
        top, left, bottom, right = self.boxes[index]
        return self.labels[top:bottom, left:right] == index + 1

    def painted(self) -> np.ndarray:
        """Return the label image."""
        return self.labels

    def counted(self, coarse: np.ndarray) -> tuple[csr_array, np.ndarray]:
        """Count shared pixels; see `overlaps`."""
        rows, columns = _nearest(coarse.shape, self.shape)
        fine = self.labels if coarse.shape == self.shape else self.labels[rows[:, None], columns]
        shape = (int(coarse.max()) + 1, len(self.boxes) + 1)
        both = coo_array((np.ones(fine.size, np.int32), (coarse.ravel(), fine.ravel())), shape=shape).tocsr()
        return both[1:, 1:], np.asarray(both.sum(axis=0)).ravel()[1:]


@dataclass(frozen=True)
class PackedMasks:
    """Masks with one bit per pixel. bits: uint8; those of crystal k lie from byte starts[k] to starts[k + 1], int64
    (n + 1,), row by row of its box."""

    shape: tuple[int, int]
    boxes: np.ndarray
    bits: np.ndarray
    starts: np.ndarray

    @staticmethod
    def of(
        labels: np.ndarray, wanted: Sequence[int], shape: tuple[int, int], place: tuple[int, int] = (0, 0)
    ) -> "PackedMasks":
        """Pack the `wanted` labels of a part, int32 (h, w), whose first pixel lies at `place` (y, x) of `shape`."""
        inside = boxes_of(labels)[np.asarray(wanted, int) - 1]
        packed = [
            np.packbits(labels[top:bottom, left:right] == n)
            for n, (top, left, bottom, right) in zip(wanted, inside, strict=True)
        ]
        starts = np.concatenate(([0], np.cumsum([len(p) for p in packed]))).astype(np.int64)
        boxes = (inside + np.array([*place, *place])).astype(np.int32).reshape(-1, 4)
        return PackedMasks(shape, boxes, np.concatenate([np.zeros(0, np.uint8), *packed]), starts)

    @staticmethod
    def joined(parts: Sequence["PackedMasks"]) -> "PackedMasks":
        """Join the masks of several parts of one image, one part after another."""
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        return PackedMasks(
            parts[0].shape,
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.bits for part in parts]),
            np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        )

    def ordered(self) -> np.ndarray:
        """Return the order of the masks' first pixels, in which `scipy.ndimage.label` numbers labels: int (n,)."""
        first = [self.boxes[k, 1] + int(np.argmax(self.mask(k)[0])) for k in range(len(self.boxes))]
        return np.lexsort((first, self.boxes[:, 0]))

    def taken(self, order: np.ndarray) -> "PackedMasks":
        """Return the masks with the numbers `order`, int (m,), in that order."""
        sizes = np.diff(self.starts)[order]
        starts = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        source = np.repeat(self.starts[order] - starts[:-1], sizes) + np.arange(starts[-1])
        return PackedMasks(self.shape, self.boxes[order], self.bits[source], starts)

    def mask(self, index: int) -> np.ndarray:
        """Return a mask, bool (h, w), within its box."""
        top, left, bottom, right = self.boxes[index].tolist()
        size = (bottom - top) * (right - left)
        bits = np.unpackbits(self.bits[self.starts[index] : self.starts[index + 1]], count=size)
        return bits.view(bool).reshape(bottom - top, right - left)

    def painted(self) -> np.ndarray:
        """Return the label image, int32 (h, w), 1..n."""
        labels = np.zeros(self.shape, np.int32)
        _paint(labels, self.boxes, self.bits, self.starts)
        return labels

    def counted(self, coarse: np.ndarray) -> tuple[csr_array, np.ndarray]:
        """Count shared pixels; see `overlaps`."""
        rows, columns = _nearest(coarse.shape, self.shape)
        other, own, shared, areas = _count(coarse, rows, columns, self.boxes, self.bits, self.starts)
        shape = (int(coarse.max()), len(self.boxes))
        return coo_array((shared, (other - 1, own)), shape=shape).tocsr(), areas


Masks = LabelMasks | PackedMasks


def boxes_of(labels: np.ndarray) -> np.ndarray:
    """Return bounding boxes of labels (h, w), 1..n: int32 (n, 4), top, left, bottom, right, ends excluded."""
    found = [(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)]
    return np.array(found, np.int32).reshape(-1, 4)


def overlaps(coarse: np.ndarray, fine: Masks) -> tuple[csr_array, np.ndarray]:
    """Return the number of pixels that the labels of `coarse`, int32 (h, w), share with the masks of another
    resolution, at the resolution of `coarse`: (n of coarse, n of fine), and the size of each fine mask there, int (n of
    fine,)."""
    return fine.counted(coarse)


def _nearest(shape: tuple[int, ...], source: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows and columns of an image of size `source`, int64, from which an image of size `shape` takes its
    pixels, as with OpenCV's INTER_NEAREST."""
    rows, columns = (
        np.minimum((np.arange(n) * (full / n)).astype(np.int64), full - 1)
        for n, full in zip(shape, source, strict=True)
    )
    return rows, columns


def nearest(labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize labels (H, W); each pixel is copied from one of theirs."""
    rows, columns = _nearest(shape, labels.shape)
    return labels[rows[:, None], columns]


@njit(cache=True, nogil=True)
def _paint(labels: np.ndarray, boxes: np.ndarray, bits: np.ndarray, starts: np.ndarray) -> None:
    for k in range(len(boxes)):
        top, left, bottom, right = boxes[k]
        width = right - left
        for y in range(top, bottom):
            for x in range(left, right):
                bit = (y - top) * width + x - left
                if bits[starts[k] + bit // 8] >> (7 - bit % 8) & 1:
                    labels[y, x] = k + 1


@njit(cache=True, nogil=True)
def _count(
    coarse: np.ndarray, rows: np.ndarray, columns: np.ndarray, boxes: np.ndarray, bits: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return each pair of a label of `coarse` and a mask that share pixels, with the number of pixels they share, and
    the size of each mask at the resolution of `coarse`, whose pixel (y, x) shows pixel (rows[y], columns[x]) of
    them."""
    others = np.empty(1024, np.int64)
    owns = np.empty(1024, np.int64)
    shares = np.empty(1024, np.int64)
    areas = np.zeros(len(boxes), np.int64)
    count = 0
    for k in range(len(boxes)):
        top, left, bottom, right = boxes[k]
        first = count
        hit = first
        for y in range(np.searchsorted(rows, top), np.searchsorted(rows, bottom)):
            for x in range(np.searchsorted(columns, left), np.searchsorted(columns, right)):
                bit = (rows[y] - top) * (right - left) + columns[x] - left
                if not bits[starts[k] + bit // 8] >> (7 - bit % 8) & 1:
                    continue
                areas[k] += 1
                other = coarse[y, x]
                if other == 0:
                    continue
                if hit >= count or others[hit] != other:
                    hit = first
                    while hit < count and others[hit] != other:
                        hit += 1
                if hit == count:
                    if count == len(others):
                        others = np.concatenate((others, np.empty_like(others)))
                        owns = np.concatenate((owns, np.empty_like(owns)))
                        shares = np.concatenate((shares, np.empty_like(shares)))
                    others[count], owns[count], shares[count] = other, k, 0
                    count += 1
                shares[hit] += 1
    return others[:count], owns[:count], shares[:count], areas
