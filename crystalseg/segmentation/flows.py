"""Labels to flow field (training truth) and flow field back to labels (tracking).

Flow is float32 (2, H, W), (dy, dx), unit vectors toward the crystal's centre, zero on the background.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from numba import config, njit
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from crystalseg.micrographs.labels import tidy

# Diffusion costs the cube of a crystal's extent. Above this many pixels it runs on a reduced mask; directions then
# differ from the full computation by under two degrees in the median (tests/segmentation/test_flows.py).
EXACT_EXTENT = 192
# Heat is counted in this many parts of what is fed a step, so that float32 reaches as far down as a flow is told from
# none (1e-60); what is less than FAINT is none, because the processor would be slow with it.
PARTS = np.float32(2.0**120)
FAINT = np.float32(2.0**-120)
LARGEST_CHECKED = 600  # px, see `flow_errors`
# Paths of one crystal may end in neighbouring pixels around its centre: such ends are one sink.
SINK_RADIUS = 2.5
OUTSIDE = -2  # in place of a basin, where there is no crystal
# Steps without a new pixel after which a path is taken to circle around its sink.
PATIENCE = 64


@njit(cache=True, nogil=True)
def _diffuse(mask: np.ndarray, cy: int, cx: int, steps: int) -> np.ndarray:
    """Heat, in PARTS, after `steps` of a 3 x 3 mean inside `mask` (bool, one pixel of padding), fed at the centre:
    float32."""
    h, w = mask.shape
    heat = np.zeros((h, w), np.float32)
    new = np.zeros((h, w), np.float32)
    column = np.zeros(w, np.float32)
    share = mask.astype(np.float32) / np.float32(9)
    first, end = np.full(h, w), np.zeros(h, np.int64)  # of each row's pixels inside
    for i in range(h):
        for j in range(w):
            if mask[i, j]:
                first[i], end[i] = min(first[i], j), j + 1
    for t in range(steps):
        heat[cy, cx] += PARTS
        # Heat has travelled at most t + 1 pixels so far. Row slices indexed from zero let the compiler vectorise.
        for i in range(max(1, cy - t - 1), min(h - 1, cy + t + 2)):
            left, right = max(first[i], cx - t - 1), min(end[i], cx + t + 2)
            if left >= right:
                continue
            above = heat[i - 1, left - 1 : right + 1]
            here = heat[i, left - 1 : right + 1]
            below = heat[i + 1, left - 1 : right + 1]
            for j in range(above.size):
                column[j] = above[j] + here[j] + below[j]
            out = new[i, left:right]
            weight = share[i, left:right]
            for j in range(out.size):
                value = (column[j] + column[j + 1] + column[j + 2]) * weight[j]
                out[j] = value if value > FAINT else np.float32(0)
        heat, new = new, heat
    return heat


def _heat(mask: np.ndarray, cy: int, cx: int, steps: int) -> np.ndarray:
    """Heat of 1 a step fed at (cy, cx) of `mask` (bool (h, w)), after `steps`: float64 (h + 2, w + 2)."""
    return _diffuse(np.pad(mask, 1), cy + 1, cx + 1, steps) / np.float64(PARTS)


def _centre(mask: np.ndarray, middle: Callable[[np.ndarray], float] = np.median) -> tuple[int, int]:
    """The mask's pixel nearest the `middle` of its coordinates."""
    y, x = np.nonzero(mask)
    nearest = np.argmin((y - middle(y)) ** 2 + (x - middle(x)) ** 2)
    return int(y[nearest]), int(x[nearest])


def _flow_of_one(mask: np.ndarray) -> np.ndarray:
    """Flow (2, h, w) float64 of a single crystal filling `mask` (bool), not yet normalised."""
    return _gradient(np.log1p(_heat(mask, *_centre(mask), 2 * (sum(mask.shape) + 2))))


def _gradient(heat: np.ndarray) -> np.ndarray:
    """Central differences (2, h, w) of (h + 2, w + 2)."""
    return np.stack((heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]))


def _normalised(flow: np.ndarray) -> np.ndarray:
    return flow / (np.sqrt(np.square(flow).sum(axis=0)) + 1e-60)


def _flow_of_large(mask: np.ndarray, extent: int = EXACT_EXTENT) -> np.ndarray:
    """As `_flow_of_one`, on a mask reduced to `extent` px and enlarged again."""
    h, w = mask.shape
    factor = -(-max(h, w) // extent)
    padded = np.pad(mask, ((0, -h % factor), (0, -w % factor)))
    reduced = np.asarray(padded.reshape(padded.shape[0] // factor, factor, -1, factor).any(axis=(1, 3)))
    flow = _normalised(_flow_of_one(reduced)).astype(np.float32)
    size = (reduced.shape[1] * factor, reduced.shape[0] * factor)
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_LINEAR)[:h, :w] for f in flow]).astype(np.float64)


def flows_from_labels(labels: np.ndarray, extent: int = EXACT_EXTENT) -> np.ndarray:
    """Unit flow toward each crystal's centre, by heat diffusion as Cellpose defines it.

    Heat starts at the pixel nearest the crystal's median coordinates and spreads for twice the sum of its bounding
    box's sides; the flow is the normalised gradient of log(1 + heat) (Stringer et al. 2021, Methods; paper III-A).

    Parameters: `labels` integer (H, W), 0 = background; longer crystals than `extent` px are worked out on a reduced
    mask. Returns float32 (2, H, W), (dy, dx).
    """
    flow = np.zeros((2, *labels.shape), np.float32)

    def fill(index: int, box: tuple[slice, slice]) -> None:
        mask = labels[box] == index
        crystal = _flow_of_one(mask) if max(mask.shape) <= extent else _flow_of_large(mask, extent)
        np.copyto(flow[:, *box], _normalised(crystal), where=mask, casting="same_kind")

    boxes = [(index, box) for index, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    # heat spreads without the interpreter's lock, and in no other crystal's pixels
    with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as threads:  # type: ignore[attr-defined]
        for _ in threads.map(lambda one: fill(*one), boxes):
            pass
    return flow


@njit(cache=True, nogil=True)
def _slide(basins: np.ndarray, y: int, x: int, fy: float, fx: float) -> tuple[int, int]:
    """The neighbour of (y, x), not OUTSIDE, that lies best in the direction (fy, fx); (y, x) if none lies ahead."""
    best, best_y, best_x = 0.1, y, x
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            i, j = y + dy, x + dx
            if dy == 0 and dx == 0:
                continue
            if 0 <= i < basins.shape[0] and 0 <= j < basins.shape[1] and basins[i, j] != OUTSIDE:
                ahead = (fy * dy + fx * dx) / np.sqrt(dy * dy + dx * dx)
                if ahead > best:
                    best, best_y, best_x = ahead, i, j
    return best_y, best_x


@njit(cache=True, nogil=True, inline="always")  # a call would take as long as the step
def _step(flow: np.ndarray, basins: np.ndarray, y: float, x: float, iy: int, ix: int) -> tuple[float, float, int, int]:
    """One unit step from (y, x), which lies in pixel (iy, ix), along that pixel's flow: the new place and pixel."""
    fy, fx = flow[0, iy, ix], flow[1, iy, ix]
    norm = np.sqrt(fy * fy + fx * fx)
    if norm < 1e-6:
        return y, x, iy, ix
    new_y = min(max(y + fy / norm, 0.0), basins.shape[0] - 1.0)
    new_x = min(max(x + fx / norm, 0.0), basins.shape[1] - 1.0)
    next_y, next_x = int(new_y + 0.5), int(new_x + 0.5)
    if basins[next_y, next_x] != OUTSIDE:
        return new_y, new_x, next_y, next_x
    # Around a corner of the crystal: slide along its edge instead of stopping there.
    iy, ix = _slide(basins, iy, ix, fy / norm, fx / norm)
    return float(iy), float(ix), iy, ix


def _unknown(mask: np.ndarray) -> np.ndarray:
    """The basins before any is known: int32 (H, W), 0 inside `mask` bool (H, W), else OUTSIDE."""
    return np.where(mask, np.int32(0), np.int32(OUTSIDE))


@njit(cache=True, nogil=True)
def _follow(flow: np.ndarray, basins: np.ndarray) -> np.ndarray:
    """Give each pixel of `basins`, in place, the number of the sink its path ends in, 0 to those OUTSIDE.

    A path (unit steps along the flow of the nearest pixel) stops at the first pixel whose sink is known, and all its
    pixels take that sink. A path that meets no new pixel for PATIENCE steps has found a new sink: one return to its own
    pixels is not enough, because along a ridge of a narrow crystal it swings from side to side while it advances.
    Returns sinks float64 (n, 2), (y, x).
    """
    h, w = basins.shape
    everywhere = basins.ravel()
    path = np.empty(h * w, np.int32)
    sinks = []
    for start_y in range(h):
        for start_x in range(w):
            if basins[start_y, start_x] != 0:
                continue
            y, x = float(start_y), float(start_x)
            iy, ix = start_y, start_x
            length, waited = 0, 0
            mean_y, mean_x = 0.0, 0.0
            while True:
                sink = basins[iy, ix]
                if sink > 0:
                    break
                if sink == 0:
                    path[length] = iy * w + ix
                    length += 1
                    basins[iy, ix] = -1
                    waited, mean_y, mean_x = 0, 0.0, 0.0
                waited += 1
                mean_y += y
                mean_x += x
                if waited > PATIENCE:
                    sinks.append((mean_y / waited, mean_x / waited))
                    sink = len(sinks)
                    break
                y, x, iy, ix = _step(flow, basins, y, x, iy, ix)
            for k in range(length):
                everywhere[path[k]] = sink
    for k in range(everywhere.size):
        everywhere[k] = max(everywhere[k], 0)
    places = np.empty((len(sinks), 2))
    for k in range(len(sinks)):
        places[k, 0], places[k, 1] = sinks[k]
    return places


def path(flow: np.ndarray, mask: np.ndarray, y: int, x: int) -> np.ndarray:
    """The way of one pixel to its sink, as `track` follows it: float64 (k, 2), (y, x), from the pixel on.

    Parameters as for `track`. A pixel outside `mask` has no way: (0, 2).
    """
    if not mask[y, x]:
        return np.zeros((0, 2))
    flow, basins = np.ascontiguousarray(flow, np.float32), _unknown(mask)
    places, seen = [(float(y), float(x))], {(y, x)}
    here, waited = (float(y), float(x), y, x), 0
    while waited <= PATIENCE:
        here = _step(flow, basins, *here)
        waited = waited + 1 if here[2:] in seen else 0
        seen.add(here[2:])
        places.append(here[:2])
    # The last steps circle about the sink.
    return np.array(places[: len(places) - PATIENCE])


def track(flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Labels from a flow field: one sink, one label (paper III-B2, by path merging instead of fixed Euler steps).

    Parameters: `flow` float (2, H, W), only its direction is used; `mask` bool (H, W), the foreground.
    Returns int32 (H, W), 0 = background, 1..n; a label may still be in several pieces (see `tidy`).
    """
    basins = _unknown(mask)
    sinks = _follow(np.ascontiguousarray(flow, np.float32), basins)
    if len(sinks) == 0:
        return basins
    pairs = cKDTree(sinks).query_pairs(SINK_RADIUS, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), np.uint8), pairs.T), shape=(len(sinks), len(sinks)))
    group = connected_components(graph, directed=False)[1]
    return np.concatenate(([0], group + 1)).astype(np.int32).take(basins)


def labels_from_flows(
    flow: np.ndarray, foreground: np.ndarray, threshold: float = 0.0, min_area: int = 15
) -> np.ndarray:
    """Instances from a fused prediction.

    Parameters: `flow` float32 (2, H, W); `foreground` float32 (H, W), logit; `threshold` h, pixels above it are
    crystal (paper: 0); `min_area` px². Returns int32 (H, W), 0 = background, 1..n, each one connected component.
    """
    return tidy(track(flow, foreground > threshold), min_area)


def flow_errors(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Mean squared difference of the flow that each label's shape has and the predicted one, float (n,), 0 to about 4,
    as in Cellpose, which drops crystals of more than 0.4 (its `flow_threshold`).

    Cellpose's check starts the heat at the pixel nearest the mean coordinates and takes the gradient of the heat
    itself. Crystals longer than LARGEST_CHECKED px are compared with what `flows_from_labels` makes of them.

    Parameters: `labels` int32 (H, W), 1..n; `flow` float32 (2, H, W), unit length where sure.
    """
    errors = np.zeros(labels.max())
    for index, box in enumerate(ndimage.find_objects(labels)):
        mask = labels[box] == index + 1
        if max(mask.shape) > LARGEST_CHECKED:
            shape = _flow_of_large(mask)
        else:
            shape = _gradient(_heat(mask, *_centre(mask, np.mean), 2 * (sum(mask.shape) + 4)))
        error = np.square(_normalised(shape) - flow[:, box[0], box[1]]).sum(axis=0)
        errors[index] = error[mask].mean()
    return errors
