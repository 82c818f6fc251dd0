"""Size-level maps: the truth that SiMA is trained on, and the conversion from trained levels to a user's levels.

Size thresholds t = (t_1, ..., t_N) are percentages of the image's longer side, descending. A crystal's length is the
larger side of its bounding box. Level i holds lengths in (t_{i+1}, t_i]; level N holds lengths up to t_N (paper section
III-B1).
"""

from collections.abc import Sequence

import cv2
import numpy as np

from crystalseg.micrographs.labels import crystal_lengths
from crystalseg.segmentation.scales import SIZE_THRESHOLDS


def levels_from_labels(labels: np.ndarray, size_thresholds: Sequence[float] = SIZE_THRESHOLDS) -> np.ndarray:
    """Return the attention truth, bool (N + 1, H, W): one map per size level, largest first, background last."""
    share = 100.0 * crystal_lengths(labels) / max(labels.shape)
    # A crystal's level is the number of size thresholds that its length does not exceed, less one.
    level = (share[:, None] <= np.asarray(size_thresholds)).sum(axis=1) - 1
    level = np.maximum(level, 0)
    level[0] = len(size_thresholds)
    return level[labels] == np.arange(len(size_thresholds) + 1)[:, None, None]


def regroup(maps: np.ndarray, trained: Sequence[float], wanted: Sequence[float]) -> np.ndarray:
    """Convert maps predicted for the size thresholds `trained` to maps for the size thresholds `wanted`.

    Each trained level is distributed over the wanted levels by the share of its range that they cover, on a logarithmic
    scale. The lowest level has no lower end and counts as two octaves. Equal size thresholds change nothing.
    Parameters: `maps` float32 (N + 1, h, w). Returns float32 (M + 1, h, w), 0..1.
    """
    if tuple(trained) == tuple(wanted):
        return maps

    def ranges(size_thresholds: Sequence[float], floor: float) -> list[tuple[float, float]]:
        edges = np.log2([*size_thresholds, floor])
        edges[0] = max(edges[0], np.log2(100.0))
        return list(zip(edges[1:], edges[:-1], strict=True))

    floor = min(trained[-1], wanted[-1]) / 4
    new = np.zeros((len(wanted) + 1, *maps.shape[1:]), np.float32)
    new[-1] = maps[-1]
    for source, (low, high) in zip(maps, ranges(trained, trained[-1] / 4), strict=False):
        for target, (bottom, top) in zip(new, ranges(wanted, floor), strict=False):
            covered = max(0.0, min(high, top) - max(low, bottom)) / (high - low)
            target += np.float32(covered) * source
    return np.clip(new, 0, 1)


def place(shape: tuple[int, int], side: int) -> tuple[float, tuple[int, int]]:
    """Return the factor and the size (h, w) at which an (H, W) image fits undistorted into a `side` × `side` square."""
    factor = side / max(shape)
    return factor, (max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor)))


def enlarge(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize maps, float32 (K, h, w), bilinearly to (K, *shape)."""
    return np.stack([cv2.resize(m, shape[::-1], interpolation=cv2.INTER_LINEAR) for m in maps])
