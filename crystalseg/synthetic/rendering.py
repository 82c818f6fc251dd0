"""Render a geometry with a look."""

import cv2
import numpy as np

from crystalseg.synthetic.appearance import Look
from crystalseg.synthetic.packing import Geometry, smooth_noise


def render(rng: np.random.Generator, geometry: Geometry, look: Look) -> np.ndarray:
    """Render the picture, uint8 (H, W, 3), of a geometry."""
    owner = geometry.owner
    shape = owner.shape
    image = _colours(rng, geometry, look)[owner]

    # One plane collects all changes of brightness that the channels share.
    texture = smooth_noise(rng, shape, look.texture_scale) + 0.5 * smooth_noise(rng, shape, 3 * look.texture_scale)
    if look.streaks > 1:
        texture = np.where(owner > 0, texture, _streaked(rng, shape, look))
    light = np.where(owner > 0, np.float32(look.grain_texture), np.float32(look.matrix_texture)) * texture
    if geometry.tone is not None:
        light += look.tone * geometry.tone
    if look.relief:
        light += look.relief * _relief(rng, geometry)
    if geometry.gap is not None and look.line:
        width = look.line_width * (1 + 0.25 * smooth_noise(rng, shape, 25))
        line = np.exp(-np.square(2 * geometry.gap / np.maximum(width, 0.5)))
        fade = 0.5 + smooth_noise(rng, shape, max(30, min(shape) / 12)) - 2.5 * (look.vanishing - 0.4)
        light += look.line * line * np.clip(fade, 0, 1)
        if look.groove:
            light += look.groove * np.exp(-np.square(2 * (geometry.gap - width) / np.maximum(width, 0.5)))
    if geometry.edge is not None:
        inside = owner > 0
        light += inside * look.rim * (geometry.edge**4 - 0.2)
        if look.line:
            light += inside * look.line * (geometry.edge > 0.93)
        if look.shading and geometry.slope is not None:
            towards = rng.uniform(0, 2 * np.pi)
            light += look.shading * (np.sin(towards) * geometry.slope[0] + np.cos(towards) * geometry.slope[1])
    marks = _marks(rng, shape, look)
    light += marks
    if look.unevenness:
        light += look.unevenness * smooth_noise(rng, shape, max(shape) / 2)
    image += light[..., None]
    if look.gray:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    if look.blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), look.blur)
    channels = 1 if look.gray else 3
    noise = rng.standard_normal((*shape, channels), dtype=np.float32)
    image += look.noise * noise
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def _colours(rng: np.random.Generator, geometry: Geometry, look: Look) -> np.ndarray:
    """Choose the colours of matrix and crystals, float32 (n + 1, 3): of six random colours, the one least like those of
    the neighbours."""
    n = geometry.count + 1
    brightness = rng.normal(0, look.brightness_spread, (n, 6, 1))
    middle = np.array((look.crystal, *look.phases))
    phase = rng.integers(len(middle), size=(n, 6)) if look.phases else np.zeros((n, 6), int)
    drawn = np.clip(middle[phase] + brightness + rng.normal(0, look.colour_spread, (n, 6, 3)), 0.05, 0.95)
    colours = drawn[:, 0]
    colours[0] = look.matrix
    pairs = _adjacent(geometry.owner)
    ends = np.searchsorted(pairs[:, 1], np.arange(n + 1))
    for crystal in range(1, n):
        done = pairs[ends[crystal] : ends[crystal + 1], 0]
        done = done[done > 0]
        if len(done):
            apart = np.abs(drawn[crystal, :, None] - colours[done]).sum(axis=2).min(axis=1)
            colours[crystal] = drawn[crystal, apart.argmax()]
    return colours.astype(np.float32)


def _streaked(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> np.ndarray:
    """Return a texture whose features are longer than wide and bend a little, as in a lamellar or rolled matrix."""
    turn = rng.uniform(0, np.pi)
    bend = rng.uniform(0, 12) * smooth_noise(rng, shape, max(30.0, min(shape) / 5))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    along, across = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x + bend
    side = 512  # side of the noise, which is repeated
    noise = smooth_noise(rng, (side, side), max(look.texture_scale, 1.5))
    column, row = (along / look.streaks % side).astype(np.float32), (across % side).astype(np.float32)
    return cv2.remap(noise, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _relief(rng: np.random.Generator, geometry: Geometry) -> np.ndarray:
    """Return the slope, towards a random direction, of a surface on which each crystal has its own height: float32 (H,
    W)."""
    height = rng.uniform(-1, 1, geometry.count + 1).astype(np.float32)[geometry.owner]
    height = cv2.GaussianBlur(height, (0, 0), float(rng.uniform(0.8, 2.5)))
    down, right = np.gradient(height)
    towards = rng.uniform(0, 2 * np.pi)
    return np.sin(towards) * down + np.cos(towards) * right


def _adjacent(owner: np.ndarray) -> np.ndarray:
    """Return pairs (k, 2) of owners that share an edge, the lower first, sorted by the higher."""
    low, high = (
        np.concatenate([f(a, b).ravel() for a, b in ((owner[1:], owner[:-1]), (owner[:, 1:], owner[:, :-1]))])
        for f in (np.minimum, np.maximum)
    )
    keys = np.unique(high[low < high] * np.int64(owner.max() + 1) + low[low < high])
    return np.column_stack((keys % (owner.max() + 1), keys // (owner.max() + 1)))


def _marks(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> np.ndarray:
    """Draw scratches, pores and impurities as a change of brightness: float32 (H, W)."""
    h, w = shape
    marks = np.zeros(shape, np.float32)
    direction = rng.uniform(0, np.pi)
    for _ in range(look.scratches):
        angle = direction + rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, np.pi)
        half = 0.5 * max(shape) * rng.uniform(0.1, 1.2)
        y, x = rng.uniform(0, h), rng.uniform(0, w)
        step = np.array([np.cos(angle), np.sin(angle)]) * half
        start, end = (np.array([x, y]) - step).astype(int), (np.array([x, y]) + step).astype(int)
        depth = float(rng.uniform(-0.35, 0.1))
        cv2.line(marks, start.tolist(), end.tolist(), depth, int(rng.integers(1, 3)), cv2.LINE_AA)
    for number, low, high in ((look.pores, -0.6, -0.2), (look.impurities, -0.3, 0.4)):
        for _ in range(number):
            size = look.mark_size * np.exp(rng.normal(0, 0.6)) * (1 if low < -0.5 else 2.5)
            axes = (int(size * rng.uniform(0.7, 1.3)) + 1, int(size * rng.uniform(0.7, 1.3)) + 1)
            centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
            cv2.ellipse(marks, centre, axes, rng.uniform(0, 180), 0, 360, float(rng.uniform(low, high)), -1)
    return marks
