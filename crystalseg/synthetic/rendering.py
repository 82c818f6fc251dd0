"""The picture of a geometry with a look."""

import cv2
import numpy as np

from crystalseg.synthetic.appearance import Look
from crystalseg.synthetic.packing import Geometry, smooth_noise


def render(rng: np.random.Generator, geometry: Geometry, look: Look) -> np.ndarray:
    """Picture uint8 (H, W, 3) of the geometry."""
    owner = geometry.owner
    shape = owner.shape
    image = _colours(rng, geometry, look)[owner]

    # Changes of brightness common to all channels are collected in one plane.
    texture = smooth_noise(rng, shape, look.texture_scale) + 0.5 * smooth_noise(rng, shape, 3 * look.texture_scale)
    light = np.where(owner > 0, np.float32(look.grain_texture), np.float32(look.matrix_texture)) * texture
    if geometry.gap is not None and look.line:
        width = look.line_width * (1 + 0.25 * smooth_noise(rng, shape, 25))
        line = np.exp(-np.square(2 * geometry.gap / np.maximum(width, 0.5)))
        fade = 0.5 + smooth_noise(rng, shape, max(30, min(shape) / 12)) - 2.5 * (look.vanishing - 0.4)
        light += look.line * line * np.clip(fade, 0, 1)
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
    """Matrix and crystals, float32 (n + 1, 3): of six colours drawn the one least like the neighbours'."""
    n = geometry.count + 1
    brightness = rng.normal(0, look.brightness_spread, (n, 6, 1))
    drawn = np.clip(look.crystal + brightness + rng.normal(0, look.colour_spread, (n, 6, 3)), 0.05, 0.95)
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


def _adjacent(owner: np.ndarray) -> np.ndarray:
    """Pairs (k, 2) of owners that share an edge, the lower first, sorted by the higher."""
    low, high = (
        np.concatenate([f(a, b).ravel() for a, b in ((owner[1:], owner[:-1]), (owner[:, 1:], owner[:, :-1]))])
        for f in (np.minimum, np.maximum)
    )
    keys = np.unique(high[low < high] * np.int64(owner.max() + 1) + low[low < high])
    return np.column_stack((keys % (owner.max() + 1), keys // (owner.max() + 1)))


def _marks(rng: np.random.Generator, shape: tuple[int, int], look: Look) -> np.ndarray:
    """Scratches, pores and impurities as a change of brightness, float32 (H, W)."""
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
