"""Numbers to colours, uint8 RGB, safe for colour-blind readers: viridis, and Okabe and Ito's palette."""

import cv2
import numpy as np


def colours_by_size(diameters: np.ndarray) -> np.ndarray:
    """Viridis on the logarithm of the diameters (n,): uint8 (n, 3), small dark blue to large yellow."""
    if not len(diameters):
        return np.zeros((0, 3), np.uint8)
    logs = np.log(np.maximum(diameters, 1e-9))
    span = np.ptp(logs)
    level = ((logs - logs.min()) / span if span else np.full(len(logs), 0.5)) * 255
    return viridis(level.astype(np.uint8)[:, None])[:, 0]


def colours_apart(count: int) -> np.ndarray:
    """So many colours, uint8 (count, 3), of which neighbours are far apart: hues by the golden section."""
    hues = np.arange(count) * 0.618034 % 1 * 180
    hsv = np.stack((hues, np.full(count, 190), np.full(count, 255)), axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0]


def viridis(levels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Flow (2, H, W): direction as hue, length as brightness (length 1 = full)."""
    angle = (np.degrees(np.arctan2(flow[0], flow[1])) % 360) / 2
    length = np.clip(np.sqrt(np.square(flow).sum(axis=0)), 0, 1)
    hsv = np.stack((angle, np.full_like(angle, 220), 255 * length), axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def flow_wheel(size: int = 120) -> np.ndarray:
    """Legend for `flow_colours`: a disc whose colour at each place is that of a flow pointing outward there."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    wheel = flow_colours(np.stack((y, x)))
    wheel[x**2 + y**2 > 1] = 255
    return wheel


def heat(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A map (H, W) in viridis between `low` and `high`."""
    return viridis((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8))


# Okabe and Ito's palette, told apart by colour-blind readers too; the first is for nothing.
CATEGORIES = (
    (0, 0, 0),
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
    (160, 160, 160),
)


def categories(values: np.ndarray) -> np.ndarray:
    """A map of small numbers (H, W): 0 black, then a colour each, over again from the first beyond the eighth."""
    table = np.array([CATEGORIES[0], *(CATEGORIES[1 + k % 8] for k in range(255))], np.uint8)
    return table[values]
