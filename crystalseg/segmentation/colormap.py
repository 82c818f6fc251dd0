"""Convert numbers to uint8 RGB colours that colour-blind readers can tell apart: viridis and Okabe and Ito's
palette."""

import cv2
import numpy as np


def colours_by_size(diameters: np.ndarray) -> np.ndarray:
    """Return viridis colours of the logarithm of diameters (n,): uint8 (n, 3), dark blue for small, yellow for
    large."""
    if not len(diameters):
        return np.zeros((0, 3), np.uint8)
    logs = np.log(np.maximum(diameters, 1e-9))
    span = np.ptp(logs)
    level = ((logs - logs.min()) / span if span else np.full(len(logs), 0.5)) * 255
    return viridis(level.astype(np.uint8)[:, None])[:, 0]


def colours_apart(count: int) -> np.ndarray:
    """Return `count` colours, uint8 (count, 3); consecutive ones differ clearly, with hues by the golden section."""
    hues = np.arange(count) * 0.618034 % 1 * 180
    hsv = np.stack((hues, np.full(count, 190), np.full(count, 255)), axis=1).astype(np.uint8)
    return cv2.cvtColor(hsv[:, None], cv2.COLOR_HSV2RGB)[:, 0]


def viridis(levels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def flow_colours(flow: np.ndarray) -> np.ndarray:
    """Colour a flow (2, H, W): hue shows direction, brightness shows length (1 = full)."""
    angle = (np.degrees(np.arctan2(flow[0], flow[1])) % 360) / 2
    length = np.clip(np.sqrt(np.square(flow).sum(axis=0)), 0, 1)
    hsv = np.stack((angle, np.full_like(angle, 220), 255 * length), axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def flow_wheel(size: int = 120) -> np.ndarray:
    """Return the legend of `flow_colours`: a disc coloured at each place like a flow that points outward there."""
    axis = np.linspace(-1, 1, size)
    x, y = np.meshgrid(axis, axis)
    wheel = flow_colours(np.stack((y, x)))
    wheel[x**2 + y**2 > 1] = 255
    return wheel


def heat(values: np.ndarray, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Colour a map (H, W) in viridis from `low` to `high`."""
    return viridis((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8))


# Okabe and Ito's palette, safe for colour-blind readers. The first colour stands for nothing.
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
    """Colour a map of small integers (H, W): 0 is black, others have one colour each, repeating after the eighth."""
    table = np.array([CATEGORIES[0], *(CATEGORIES[1 + k % 8] for k in range(255))], np.uint8)
    return table[values]
