"""Convert flows to labels the way cellpose 3.1 does (Stringer et al. 2021, Methods), so that baselines give the results
that its users know.

Each foreground pixel moves a fixed number of Euler steps along the interpolated flow. A place where many pixels end is
a crystal, which takes the pixels that ended nearby. Pixels that ended elsewhere belong to no crystal.
"""

import cv2
import numpy as np
from numba import njit
from scipy import ndimage

from crystalseg.micrographs.labels import areas, keep_labels
from crystalseg.segmentation.flows import flow_errors

# Constants of cellpose 3.1.1.3.
STEPS = 200
_PEAK_SIDE, _PEAK_LEAST = 5, 10  # a peak is the maximum of 5 × 5 pixels, with more than 10 pixels ending there
_GROWTH, _GROWTH_LEAST = 5, 2  # it grows by one pixel 5 times, over pixels where more than 2 end
_LARGEST_SHARE = 0.4  # of the image area; larger crystals are dropped
_MARGIN = 20  # px around the image, so that a peak near the border can grow


def labels_as_cellpose(
    flow: np.ndarray, foreground: np.ndarray, threshold: float, min_area: int, flow_threshold: float
) -> np.ndarray:
    """Return labels, int32 (H, W), 0 = background, 1..n, from flow and foreground. A label may have several pieces.

    flow: float32 (2, H, W), unit length where the network is sure; foreground: float32 (H, W), logit; threshold: on the
    logit; min_area: px²; flow_threshold: see `flows.flow_errors`, 0 keeps all crystals.
    """
    mask = foreground > threshold
    rows, columns = np.nonzero(mask)
    ends = _ends(np.ascontiguousarray(flow * mask, np.float32), rows, columns, STEPS)
    places = ends.astype(int) + _MARGIN
    sinks = _sinks(places, mask.shape)
    labels = np.zeros(mask.shape, np.int32)
    labels[rows, columns] = sinks[places[0], places[1]]
    labels = _in_order(labels)
    labels = keep_labels(labels, areas(labels)[1:] <= _LARGEST_SHARE * labels.size)
    if flow_threshold > 0:
        wrong = 1 + np.flatnonzero(flow_errors(labels, flow) > flow_threshold)
        labels[np.isin(labels, wrong)] = 0
    # Cellpose mistakes positions in the list of remaining labels for label numbers, so it also drops some larger ones.
    left = areas(labels)[1:]
    small = 1 + np.flatnonzero(left[left > 0] < min_area)
    labels[np.isin(labels, small)] = 0
    return _filled(labels, min_area)


@njit(cache=True, nogil=True)
def _between(values: np.ndarray, y: float, x: float) -> np.float32:
    """Return `values`, float32 (H, W), at (y, x) by bilinear interpolation."""
    i, j = int(y), int(x)
    below, right = min(i + 1, values.shape[0] - 1), min(j + 1, values.shape[1] - 1)
    v, u = y - i, x - j
    above = values[i, j] * (1 - v) * (1 - u) + values[i, right] * (1 - v) * u
    return np.float32(above + values[below, j] * v * (1 - u) + values[below, right] * v * u)


@njit(cache=True, nogil=True)
def _ends(flow: np.ndarray, rows: np.ndarray, columns: np.ndarray, steps: int) -> np.ndarray:
    """Return the positions of pixels after `steps` steps along the interpolated flow, float32 (2, n), (y, x)."""
    last_y, last_x = np.float32(flow.shape[1] - 1), np.float32(flow.shape[2] - 1)
    ends = np.empty((2, len(rows)), np.float32)  # positions are float32 at each step, as in cellpose
    ends[0], ends[1] = rows, columns
    for k in range(len(rows)):
        for _ in range(steps):
            y, x = ends[0, k], ends[1, k]
            ends[0, k] = min(max(y + _between(flow[0], y, x), np.float32(0)), last_y)
            ends[1, k] = min(max(x + _between(flow[1], y, x), np.float32(0)), last_x)
    return ends


def _sinks(places: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the crystal whose pixels end at each place, int32 (H + 2 margin, W + 2 margin); 0 for none."""
    count = np.zeros([length + 2 * _MARGIN for length in shape], np.int32)
    np.add.at(count, (places[0], places[1]), 1)
    highest = cv2.dilate(count.astype(np.float32), np.ones((_PEAK_SIDE, _PEAK_SIDE), np.uint8))
    peaks = np.argwhere((count == highest) & (count > _PEAK_LEAST))
    sinks = np.zeros(count.shape, np.int32)
    seed = np.zeros((2 * _GROWTH + 1,) * 2, bool)
    seed[_GROWTH, _GROWTH] = True
    # the peak where most pixels end comes last and overwrites the others
    for number, k in enumerate(np.argsort(count[tuple(peaks.T)], kind="stable"), start=1):
        y, x = peaks[k]
        window = np.s_[y - _GROWTH : y + _GROWTH + 1, x - _GROWTH : x + _GROWTH + 1]
        near = ndimage.binary_dilation(seed, np.ones((3, 3)), _GROWTH, mask=count[window] > _GROWTH_LEAST)
        sinks[window][near] = number
    return sinks


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Number labels (H, W) 1..n in the order in which they appear, row by row."""
    names, first, places = np.unique(labels, return_index=True, return_inverse=True)
    number = np.zeros(len(names), np.int32)
    crystals = np.flatnonzero(names)
    number[crystals[np.argsort(first[crystals])]] = np.arange(len(crystals)) + 1
    return number[places].reshape(labels.shape)


def _filled(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Return labels of at least `min_area` px², numbered 1..n, with their holes filled."""
    labels = _in_order(labels)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:  # not inside a hole of another label that was filled
            labels[box][ndimage.binary_fill_holes(labels[box] == number)] = number
    return keep_labels(labels, areas(labels)[1:] >= max(min_area, 1))
