"""Convert labels to a flow field (training truth) and a flow field to labels (tracking).

Flow is float32 (2, H, W), (dy, dx): unit vectors toward the crystal's centre, zero on the background.
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

from crystalseg.micrographs.labels import renumbered, tidy

# The cost of diffusion grows with the cube of a crystal's extent. Above this many pixels it runs on a reduced mask, and
# directions differ from the full computation by less than two degrees in the median (tests/segmentation/test_flows.py).
EXACT_EXTENT = 192
# Heat is counted in units of 1/PARTS of the amount fed per step, so that float32 reaches down to 1e-60, below which no
# flow can be told. Less than FAINT counts as zero, because denormal numbers slow the processor down.
PARTS = np.float32(2.0**120)
FAINT = np.float32(2.0**-120)
LARGEST_CHECKED = 600  # px; see `flow_errors`
# Paths of one crystal may end in neighbouring pixels around its centre. Such ends count as one sink.
SINK_RADIUS = 2.5
OUTSIDE = -2  # marks places outside crystals, instead of a basin
# A path that meets no new pixel for this many steps circles around its sink.
PATIENCE = 64


@njit(cache=True, nogil=True)
def _diffuse(mask: np.ndarray, cy: int, cx: int, steps: int) -> np.ndarray:
    """Return the heat, in PARTS, after `steps` of a 3 x 3 mean inside `mask` (bool, one pixel of padding), fed at the
    centre: float32."""
    h, w = mask.shape
    heat = np.zeros((h, w), np.float32)
    new = np.zeros((h, w), np.float32)
    column = np.zeros(w, np.float32)
    share = mask.astype(np.float32) / np.float32(9)
    first, end = np.full(h, w), np.zeros(h, np.int64)  # range of pixels inside, by row
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
    """Return the heat after `steps`, 1 fed per step at (cy, cx) of `mask` (bool (h, w)): float64 (h + 2, w + 2)."""
    return _diffuse(np.pad(mask, 1), cy + 1, cx + 1, steps) / np.float64(PARTS)


def _centre(mask: np.ndarray, middle: Callable[[np.ndarray], float] = np.median) -> tuple[int, int]:
    """Return the pixel of the mask nearest the `middle` of its coordinates."""
    y, x = np.nonzero(mask)
    nearest = np.argmin((y - middle(y)) ** 2 + (x - middle(x)) ** 2)
    return int(y[nearest]), int(x[nearest])


def _flow_of_one(mask: np.ndarray) -> np.ndarray:
    """Return the flow (2, h, w), float64, not yet normalised, of a single crystal that fills `mask` (bool)."""
    return _gradient(np.log1p(_heat(mask, *_centre(mask), 2 * (sum(mask.shape) + 2))))


def _gradient(heat: np.ndarray) -> np.ndarray:
    """Return the central differences (2, h, w) of an array (h + 2, w + 2)."""
    return np.stack((heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]))


def _normalised(flow: np.ndarray) -> np.ndarray:
    return flow / (np.sqrt(np.square(flow).sum(axis=0)) + 1e-60)


def _flow_of_large(mask: np.ndarray, extent: int = EXACT_EXTENT) -> np.ndarray:
    """Like `_flow_of_one`, but computed on a mask reduced to `extent` px, and enlarged again."""
    h, w = mask.shape
    factor = -(-max(h, w) // extent)
    padded = np.pad(mask, ((0, -h % factor), (0, -w % factor)))
    reduced = np.asarray(padded.reshape(padded.shape[0] // factor, factor, -1, factor).any(axis=(1, 3)))
    flow = _normalised(_flow_of_one(reduced)).astype(np.float32)
    size = (reduced.shape[1] * factor, reduced.shape[0] * factor)
    return np.stack([cv2.resize(f, size, interpolation=cv2.INTER_LINEAR)[:h, :w] for f in flow]).astype(np.float64)


def flows_from_labels(labels: np.ndarray, extent: int = EXACT_EXTENT) -> np.ndarray:
    """Return the unit flow toward each crystal's centre, by heat diffusion as Cellpose defines it.

    Heat starts at the pixel nearest the crystal's median coordinates and spreads for twice the sum of the sides of its
    bounding box. The flow is the normalised gradient of log(1 + heat) (Stringer et al. 2021, Methods; paper III-A).

    Parameters: `labels` integer (H, W), 0 = background. Crystals longer than `extent` px are computed on a reduced
    mask. Returns float32 (2, H, W), (dy, dx).
    """
    flow = np.zeros((2, *labels.shape), np.float32)

    def fill(index: int, box: tuple[slice, slice]) -> None:
        mask = labels[box] == index
        crystal = _flow_of_one(mask) if max(mask.shape) <= extent else _flow_of_large(mask, extent)
        np.copyto(flow[:, *box], _normalised(crystal), where=mask, casting="same_kind")

    boxes = [(index, box) for index, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None]
    # diffusion releases the interpreter lock and writes only to the pixels of its own crystal
    with ThreadPoolExecutor(config.NUMBA_NUM_THREADS) as threads:  # type: ignore[attr-defined]
        for _ in threads.map(lambda one: fill(*one), boxes):
            pass
    return flow


@njit(cache=True, nogil=True, error_model="numpy")  # the python model checks each divisor first
def _directions(flow: np.ndarray) -> np.ndarray:
    """Return the unit vector along `flow`, float32 (2, H, W), at each pixel, row by row; 0 where there is no flow. The
    result is float32 (H · W, 2), so that the two components of a pixel are adjacent."""
    down, right = flow[0].ravel(), flow[1].ravel()
    found = np.empty((down.size, 2), np.float32)
    for place in range(down.size):
        norm = np.sqrt(down[place] * down[place] + right[place] * right[place])
        norm = norm if norm >= 1e-6 else np.float32(np.inf)
        found[place, 0], found[place, 1] = down[place] / norm, right[place] / norm
    return found


# A function call here, or an array argument (whose references are counted), would take as long again.
@njit(cache=True, nogil=True, inline="always")
def _step(y: float, x: float, dy: float, dx: float, height: int, width: int) -> tuple[float, float, int]:
    """Take one step (dy, dx) from (y, x), not beyond the image edge. Returns the position and the number of its
    pixel."""
    y, x = min(max(y + dy, 0.0), height - 1.0), min(max(x + dx, 0.0), width - 1.0)
    return y, x, int(y + 0.5) * width + int(x + 0.5)


@njit(cache=True, nogil=True)
def _slide(basins: np.ndarray, height: int, width: int, place: int, fy: float, fx: float) -> tuple[float, float, int]:
    """Follow the edge of a crystal around a corner, instead of stopping there. Returns row, column and number of the
    neighbour, not OUTSIDE, that lies best in the direction (fy, fx), or of the pixel itself if none lies ahead."""
    y, x = place // width, place % width
    best, best_y, best_x = 0.1, y, x
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            i, j = y + dy, x + dx
            if dy == 0 and dx == 0:
                continue
            if 0 <= i < height and 0 <= j < width and basins[i * width + j] != OUTSIDE:
                ahead = (fy * dy + fx * dx) / np.sqrt(dy * dy + dx * dx)
                if ahead > best:
                    best, best_y, best_x = ahead, i, j
    return float(best_y), float(best_x), best_y * width + best_x


def _unknown(mask: np.ndarray) -> np.ndarray:
    """Return basins of which none is known yet: int32 (H, W), 0 inside `mask`, bool (H, W), and OUTSIDE elsewhere."""
    return np.where(mask, np.int32(0), np.int32(OUTSIDE))


@njit(cache=True, nogil=True)
def _follow(directions: np.ndarray, basins: np.ndarray, width: int) -> np.ndarray:
    """Set each pixel of `basins` (int32 (H · W,), row by row), in place, to the number of the sink where its path ends.

    A path (unit steps in the direction of the nearest pixel) stops at the first pixel with a known sink, and all pixels
    of the path take that sink. A path that meets no new pixel for PATIENCE steps has found a new sink. One return to
    its own pixels is not enough, because along the ridge of a narrow crystal it swings from side to side while it
    advances. Returns sinks float64 (n, 2), (y, x).
    """
    height = basins.size // width
    path = np.empty(basins.size, np.int32)
    sinks = []
    for start in range(basins.size):
        if basins[start] != 0:
            continue
        y, x, place = float(start // width), float(start % width), start
        length, waited = 0, 0
        mean_y, mean_x = 0.0, 0.0
        while True:
            sink = basins[place]
            if sink > 0:
                break
            if sink == 0:
                path[length] = place
                length += 1
                basins[place] = -1
                waited, mean_y, mean_x = 0, 0.0, 0.0
            waited += 1
            mean_y += y
            mean_x += x
            if waited > PATIENCE:
                sinks.append((mean_y / waited, mean_x / waited))
                sink = len(sinks)
                break
            fy, fx = directions[place, 0], directions[place, 1]
            new_y, new_x, new_place = _step(y, x, fy, fx, height, width)
            if basins[new_place] != OUTSIDE:
                y, x, place = new_y, new_x, new_place
            else:
                y, x, place = _slide(basins, height, width, place, fy, fx)
        for k in range(length):
            basins[path[k]] = sink
    places = np.empty((len(sinks), 2))
    for k in range(len(sinks)):
        places[k, 0], places[k, 1] = sinks[k]
    return places


def path(flow: np.ndarray, mask: np.ndarray, y: int, x: int) -> np.ndarray:
    """Return the path of one pixel to its sink, as `track` follows it: float64 (k, 2), (y, x), starting at the pixel.

    Parameters as for `track`. A pixel outside `mask` has an empty path, (0, 2).
    """
    if not mask[y, x]:
        return np.zeros((0, 2))
    directions = _directions(np.ascontiguousarray(flow, np.float32))
    height, width = mask.shape
    basins = _unknown(mask).ravel()
    here_y, here_x, place = float(y), float(x), y * width + x
    places, seen, waited = [(here_y, here_x)], {place}, 0
    while waited <= PATIENCE:
        fy, fx = directions[place]
        ahead = _step(here_y, here_x, fy, fx, height, width)
        inside = basins[ahead[2]] != OUTSIDE
        here_y, here_x, place = ahead if inside else _slide(basins, height, width, place, fy, fx)
        waited = waited + 1 if place in seen else 0
        seen.add(place)
        places.append((here_y, here_x))
    # The last steps circle around the sink.
    return np.array(places[: len(places) - PATIENCE])


def track(flow: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Convert a flow field to labels: one sink, one label (paper III-B2, with path merging instead of fixed Euler
    steps).

    Parameters: `flow` float (2, H, W), of which only the direction is used; `mask` bool (H, W), the foreground.
    Returns int32 (H, W), 0 = background, 1..n. A label may still have several pieces (see `tidy`).
    """
    basins = _unknown(mask)
    sinks = _follow(_directions(np.ascontiguousarray(flow, np.float32)), basins.ravel(), mask.shape[1])
    pairs = cKDTree(sinks).query_pairs(SINK_RADIUS, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), np.uint8), pairs.T), shape=(len(sinks), len(sinks)))
    group = connected_components(graph, directed=False)[1]
    return renumbered(basins, group + 1)


def labels_from_flows(
    flow: np.ndarray, foreground: np.ndarray, threshold: float = 0.0, min_area: int = 15
) -> np.ndarray:
    """Convert a fused prediction to labels.

    Parameters: `flow` float32 (2, H, W); `foreground` float32 (H, W), logit; `threshold` h: pixels above it belong to a
    crystal (paper: 0); `min_area` px². Returns int32 (H, W), 0 = background, 1..n, each one connected component.
    """
    return tidy(track(flow, foreground > threshold), min_area)


def flow_errors(labels: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Return the mean squared difference between the flow of each label's shape and the predicted flow, float (n,), 0
    to about 4, as in Cellpose, which drops crystals with more than 0.4 (its `flow_threshold`).

    Cellpose's check starts the heat at the pixel nearest the mean coordinates and takes the gradient of the heat
    itself. Crystals longer than LARGEST_CHECKED px are compared with the flow of `flows_from_labels`.

    Parameters: `labels` int32 (H, W), 1..n; `flow` float32 (2, H, W), unit length where the network is sure.
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
