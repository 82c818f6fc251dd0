"""Label images, integer (H, W), 0 = background: put them in order, and measure the sizes in them, px."""

import cv2
import numpy as np
from numba import njit
from scipy import ndimage

from crystalseg.errors import UserError

BOUNDARY_WIDTH = 5  # px, width of the lines between annotated crystals (paper section IV-A)
GROUND_MARGIN = (BOUNDARY_WIDTH + 1) // 2  # px, how far the ground, with these lines, extends around crystals


# No image has room for more crystals (MOSAIC_MEGAPIXELS over Instances.min_area). A table of all of them takes 0.8 GB.
MOST = 10**8


class LabelsError(UserError):
    """Labels that are not valid. The message is one sentence for the user."""


def largest(labels: np.ndarray) -> int:
    """Return the largest number of a label image (H, W). Raises LabelsError unless all are whole numbers from 0 to
    MOST: compiled code uses them as indices without checking bounds."""
    if labels.dtype.kind not in "biu":
        raise LabelsError(f"Labels must be whole numbers; these are {labels.dtype}.")
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high > MOST:
        raise LabelsError(
            f"Labels must be numbered 0, 1, 2, …; these run from {low} to {high}; renumber them "
            "(`label_images.relabelled`)."
        )
    return high


@njit(cache=True, nogil=True)
def _holes(labels: np.ndarray, background: np.ndarray, count: int) -> np.ndarray:
    """Find for each background component the one label around it; 0 if there are several, or the image border."""
    h, w = labels.shape
    owner = np.zeros(count + 1, np.int32)
    for i in range(h):
        for j in range(w):
            b = background[i, j]
            if b == 0 or owner[b] < 0:
                continue
            if i == 0 or j == 0 or i == h - 1 or j == w - 1:
                owner[b] = -1
                continue
            for y, x in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                other = labels[y, x]
                if other > 0:
                    if owner[b] == 0:
                        owner[b] = other
                    elif owner[b] != other:
                        owner[b] = -1
                        break
    return np.maximum(owner, 0)


@njit(cache=True, nogil=True)
def _fill(labels: np.ndarray, background: np.ndarray, owner: np.ndarray) -> None:
    """Give each background component, in place, to the label around it."""
    for row, components in zip(labels, background):  # noqa: B905 - numba knows no strict
        for j in range(row.size):
            if components[j] > 0:
                row[j] = owner[components[j]]


@njit(cache=True, nogil=True)
def _root(parent: np.ndarray, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


@njit(cache=True, nogil=True)
def pieces(labels: np.ndarray) -> np.ndarray:
    """Number the 4-connected components of each label 1..n in the order of their first pixels: int32 (H, W).

    The result equals that of skimage.measure.label and takes less than half of the time: union-find by raster scan (Wu,
    Otoo & Suzuki 2009, Pattern Analysis and Applications 12:117), whose roots are first pixels.
    """
    h, w = labels.shape
    parent = np.empty(h * w, np.int32)
    for i in range(h):
        for j in range(w):
            label = labels[i, j]
            place = i * w + j
            parent[place] = place
            if label == 0:
                continue
            if i > 0 and labels[i - 1, j] == label:
                parent[place] = parent[place - w]
            if j > 0 and labels[i, j - 1] == label and parent[place - 1] != parent[place]:
                a, b = _root(parent, place - 1), _root(parent, place)
                parent[max(a, b)] = min(a, b)
                parent[place] = min(a, b)
    found = np.zeros((h, w), np.int32)
    numbers = found.ravel()
    count = 0
    for i in range(h):
        for j in range(w):
            if labels[i, j] == 0:
                continue
            place = i * w + j
            first = parent[parent[place]]  # a parent comes first, so its first pixel is known already
            parent[place] = first
            if first == place:
                count += 1
                numbers[place] = count
            else:
                numbers[place] = numbers[first]
    return found


@njit(cache=True, nogil=True)
def _counted(labels: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros(count, np.int64)
    for row in labels:
        before, run = 0, 0  # counting runs avoids waiting for the same counter again and again
        for label in row:
            if label != before:
                found[before] += run
                before, run = label, 0
            run += 1
        found[before] += run
    return found


def areas(labels: np.ndarray, least: int = 0) -> np.ndarray:
    """Count the pixels of each label of an image (H, W): int64 (n + 1,), the background first, with n at least `least`.
    `numpy.bincount` would first make 8 bytes of every pixel. Raises LabelsError as `largest` does."""
    return _counted(labels, max(largest(labels), least) + 1)


@njit(cache=True, nogil=True)
def _averaged(labels: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    total, area = np.zeros(count), np.zeros(count)
    for i in range(labels.shape[0]):
        for j in range(labels.shape[1]):
            if labels[i, j] > 0:
                total[labels[i, j]] += values[i, j]
                area[labels[i, j]] += 1
    return total / np.maximum(area, 1)


def means(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the mean of `values`, float or bool (H, W), over each label 1..n of an image (H, W): float64 (n,); 0 for
    absent labels."""
    if values.shape != labels.shape:
        raise LabelsError(f"Labels have {labels.shape} px, but the values have {values.shape}.")
    return _averaged(labels, values, largest(labels) + 1)[1:]


@njit(cache=True, nogil=True)
def _looked_up(labels: np.ndarray, table: np.ndarray) -> np.ndarray:
    found = np.zeros(labels.shape, np.int32)
    for row, out in zip(labels, found):  # noqa: B905 - numba knows no strict
        for j in range(row.size):
            if row[j] > 0:
                out[j] = table[row[j]]
    return found


def renumbered(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Replace the labels 1..n of an image (H, W) by `numbers`, integer (n,). Numbers that are not above 0 become 0.
    Returns int32 (H, W)."""
    if int(labels.max(initial=0)) > len(numbers):
        raise LabelsError(f"Labels run to {labels.max()}, but only {len(numbers)} are known.")
    return _looked_up(labels, np.concatenate(([0], numbers)).astype(np.int32))


def keep_labels(labels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Keep the labels 1..n of an image (H, W) for which `keep`, bool (n,), is true, and renumber them in order: int32
    (H, W)."""
    return renumbered(labels, np.where(keep, np.cumsum(keep), 0))


def tidy(labels: np.ndarray, min_area: int = 1) -> np.ndarray:
    """Make every label one 4-connected component of at least `min_area` px², without holes, numbered 1..n.

    A label in several large pieces becomes several labels. A hole is background enclosed by a single label. `labels`:
    integer (H, W). Returns int32 (H, W). Raises LabelsError as `largest` does.
    """
    largest(labels)
    connected = pieces(labels)
    return filled(keep_labels(connected, areas(connected)[1:] >= max(min_area, 1)))


def hollowed(labels: np.ndarray, ground: np.ndarray, min_area: int) -> np.ndarray:
    """Take the holes out of labels (H, W): pixels that are not `ground`, bool (H, W), and lie inside a single label, in
    pieces of at least `min_area` px². A gap in the ground at the edge of a label stays part of the label. Returns int32
    (H, W)."""
    solid = np.where(ground, labels, 0).astype(np.int32)
    count, empty = cv2.connectedComponents((solid == 0).astype(np.uint8), connectivity=4)
    owner = _holes(solid, empty, count)
    owner[areas(empty, count) < min_area] = 0
    found = labels.astype(np.int32)  # a copy
    found[(owner[empty] > 0) & (owner[empty] == labels)] = 0
    return found


def filled(labels: np.ndarray) -> np.ndarray:
    """Fill the holes of labels (H, W): background inside a single label becomes part of that label. Returns int32 (H,
    W)."""
    found = labels.astype(np.int32)
    count, background = cv2.connectedComponents((found == 0).astype(np.uint8), connectivity=4)
    _fill(found, background, _holes(found, background, count))
    return found


def bounding_box(mask: np.ndarray, margin: int = 0) -> tuple[slice, slice]:
    """Return the rows and columns of the true pixels of a mask, bool (H, W), with a margin of `margin` px inside the
    mask."""
    ends = (np.flatnonzero(mask.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0))
    rows, columns = (
        slice(max(0, first - margin), min(length, last + 1 + margin))
        for (first, last), length in zip(ends, mask.shape, strict=True)
    )
    return rows, columns


def crystal_lengths(labels: np.ndarray) -> np.ndarray:
    """Return the axis-aligned length of each label, px: int (n + 1,). Entry 0 and absent labels are 0."""
    lengths = [0]
    for box in ndimage.find_objects(labels):
        lengths.append(0 if box is None else max(box[0].stop - box[0].start, box[1].stop - box[1].start))
    return np.array(lengths)


def homogeneity(labels: np.ndarray) -> float:
    """Return smallest ÷ largest crystal of an image (paper section IV-A), by the longer side of the bounding
    box: 0..1."""
    lengths = crystal_lengths(labels)
    lengths = lengths[lengths > 0]
    return float(lengths.min() / lengths.max()) if len(lengths) else 1.0


def size_class(labels: np.ndarray, tile: int = 224) -> int:
    """Return the paper's class of an image (section IV-A): 1 if its largest crystal is shorter than `tile`, else 2 if
    its homogeneity is below 0.1, else 3. The size is the longer side of the bounding box, px."""
    if crystal_lengths(labels).max() < tile:
        return 1
    return 2 if homogeneity(labels) < 0.1 else 3
