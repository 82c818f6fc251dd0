"""Arrays to RGB pictures, uint8 (H, W, 3). Palettes are safe for colour-blind readers (viridis)."""

import cv2
import numpy as np

OUTLINE = (255, 214, 10)


def boundaries(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Inner outline of every crystal, bool (H, W)."""
    padded = np.pad(labels, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    edge = np.logical_or.reduce([n != middle for n in neighbours]) & (labels > 0)
    if thickness > 1:
        edge = cv2.dilate(edge.astype(np.uint8), np.ones((thickness, thickness), np.uint8)) > 0
    return edge


def colours_by_size(diameters: np.ndarray) -> np.ndarray:
    """Viridis on the logarithm of the diameters (n,): uint8 (n, 3), small dark blue to large yellow."""
    if not len(diameters):
        return np.zeros((0, 3), np.uint8)
    logs = np.log(np.maximum(diameters, 1e-9))
    span = np.ptp(logs)
    level = ((logs - logs.min()) / span if span else np.full(len(logs), 0.5)) * 255
    return _viridis(level.astype(np.uint8)[:, None])[:, 0]


def _viridis(levels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def outlined(image: np.ndarray, labels: np.ndarray, opacity: float = 0.0, thickness: int | None = None) -> np.ndarray:
    """The image with crystals outlined, and filled by size at `opacity` 0..1."""
    picture = image.copy()
    area = np.bincount(labels.ravel())
    if opacity > 0 and len(area) > 1:
        colours = np.zeros((len(area), 3), np.uint8)
        present = area > 0
        present[0] = False
        colours[present] = colours_by_size(np.sqrt(area[present]))
        blended = cv2.addWeighted(picture, 1 - opacity, colours[labels], opacity, 0)
        picture = np.where((labels > 0)[..., None], blended, picture)
    thickness = thickness or max(1, round(max(labels.shape) / 900))
    picture[boundaries(labels, thickness)] = OUTLINE
    return picture


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
    return _viridis((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8))


def overlay(image: np.ndarray, picture: np.ndarray, opacity: float) -> np.ndarray:
    """`picture`, resized to the image, over the image at `opacity` 0..1."""
    picture = cv2.resize(picture, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(image, 1 - opacity, picture, opacity, 0)


def fit(picture: np.ndarray, longest: int) -> np.ndarray:
    """The picture reduced so that its longer side is at most `longest` px."""
    factor = longest / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def scale_bar(width_um: float) -> float:
    """A round length (1, 2 or 5 × 10^k µm) of about a fifth of an image `width_um` wide."""
    target = width_um / 5
    power = 10.0 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1, 2, 5) if step * power <= target))


# Okabe and Ito's palette, told apart by colour-blind readers too; the first is for nothing.
CATEGORIES = (
    (0, 0, 0), (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0),
    (240, 228, 66), (160, 160, 160),
)  # fmt: skip


def categories(values: np.ndarray) -> np.ndarray:
    """A map of small numbers (H, W): 0 black, then a colour each, over again from the first beyond the eighth."""
    table = np.array([CATEGORIES[0], *(CATEGORIES[1 + k % 8] for k in range(255))], np.uint8)
    return table[values]


def with_test_lines(picture: np.ndarray, found) -> np.ndarray:
    """A copy of an RGB picture with the test lines of `measure.intercept.Intercepts` and a dot at each crossing."""
    drawn = picture.copy()
    wide = max(1, round(max(picture.shape[:2]) / 700))
    for line in found.lines:
        cv2.polylines(drawn, [np.rint(line[:, ::-1]).astype(np.int32)], False, (0, 158, 115), wide, cv2.LINE_AA)
    for y, x in found.crossings:
        cv2.circle(drawn, (round(x), round(y)), 2 * wide, (213, 94, 0), -1, cv2.LINE_AA)
    return drawn
