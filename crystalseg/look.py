"""How synthetic micrographs look: colours, texture, boundary lines, dirt and the camera."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from crystalseg.packing import POLYCRYSTALS, Geometry, Kind, smooth_noise


@dataclass(frozen=True)
class Look:
    """How the crystals appear. Intensities are shares of full scale, lengths px.

    crystal, matrix: mean RGB colour of crystals and of what lies between or around them.
    colour_spread: standard deviation of a crystal's colour about the mean (polarised light: large).
    brightness_spread: standard deviation of a crystal's brightness.
    grain_texture, matrix_texture: standard deviation of the texture inside crystals and in the matrix.
    texture_scale: coarseness of the texture.
    line: brightness of the boundary line relative to the crystal, negative = dark; line_width: its width.
    vanishing: share of boundary length, roughly, where the line fades away, 0 to 1.
    rim: brightening toward a particle's edge (SEM edge effect); shading: strength of light from one side.
    scratches, pores, impurities: their number; mark_size: median radius of a pore, impurities are larger.
    unevenness: amplitude of slow brightness changes over the image.
    blur: standard deviation of the point spread; noise: standard deviation of the camera noise.
    gray: whether the image is gray.
    """

    crystal: tuple[float, float, float] = (0.7, 0.65, 0.6)
    matrix: tuple[float, float, float] = (0.15, 0.15, 0.15)
    colour_spread: float = 0.0
    brightness_spread: float = 0.03
    grain_texture: float = 0.02
    matrix_texture: float = 0.02
    texture_scale: float = 4.0
    line: float = -0.4
    line_width: float = 3.0
    vanishing: float = 0.1
    rim: float = 0.0
    shading: float = 0.0
    scratches: int = 5
    pores: int = 10
    impurities: int = 0
    mark_size: float = 2.7
    unevenness: float = 0.05
    blur: float = 0.7
    noise: float = 0.02
    gray: bool = False


def random_look(rng: np.random.Generator, kind: Kind, diameter: float) -> Look:
    """A look typical of the kind: etched, polarised or SEM for polycrystals; SEM or daylight for particles.

    Crystals can always be traced in it: images that no person could label teach and tell nothing.
    """
    return _traceable(_random_look(rng, kind), kind, diameter)


def _traceable(look: Look, kind: Kind, diameter: float) -> Look:
    """The look with as much less haze and clutter, and as much more contrast, as a person needs to trace boundaries."""
    blur = min(look.blur, max(0.4, diameter / 16))
    width = min(look.line_width, max(1.2, diameter / 6))
    look = replace(look, blur=blur, line_width=width, mark_size=min(look.mark_size, 0.06 * diameter))
    if kind not in POLYCRYSTALS:
        return look
    haze = look.noise + look.grain_texture
    contrast = 0.05 + 1.5 * haze
    if not look.line:
        return replace(look, colour_spread=max(look.colour_spread, contrast))
    # How much of the line's depth the blur leaves (both are about Gaussian).
    left = 1 / np.hypot(1, blur / (width / 2**1.5))
    quiet = min(1.0, (0.6 * left - 0.05) / (contrast - 0.05))
    depth = max(abs(look.line), min(contrast / left, 0.6))
    return replace(
        look, line=float(np.sign(look.line) * depth), noise=look.noise * quiet, grain_texture=look.grain_texture * quiet
    )


def _random_look(rng: np.random.Generator, kind: Kind) -> Look:
    common = Look(
        unevenness=float(rng.uniform(0, 0.12)),
        blur=float(rng.uniform(0.3, 1.6)),
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.06)))),
        texture_scale=float(np.exp(rng.uniform(np.log(1.0), np.log(8.0)))),
        vanishing=float(rng.uniform(0, 0.15)),
        line_width=float(rng.uniform(1.2, 5.0)),
        scratches=int(rng.poisson(rng.choice([0, 3, 25]))),
        pores=int(rng.poisson(rng.choice([0, 5, 60]))),
        impurities=int(rng.poisson(rng.choice([0, 2, 10]))),
        grain_texture=float(rng.uniform(0.005, 0.05)),
        matrix_texture=float(rng.uniform(0.005, 0.06)),
    )
    if kind == "powder":
        bright = rng.uniform(0.25, 0.6)
        return replace(
            common, gray=True, crystal=(bright,) * 3, matrix=(rng.uniform(0.02, 0.25),) * 3, brightness_spread=0.07,
            rim=float(rng.uniform(0.1, 0.5)), shading=float(rng.uniform(0, 0.2)), line=-0.1, pores=0, scratches=0,
            grain_texture=float(rng.uniform(0.02, 0.1)),
        )  # fmt: skip
    if kind == "precipitates":
        bright = rng.uniform(0.5, 0.95)
        matrix = rng.uniform(0.1, 0.4)
        if rng.random() < 0.2:
            bright, matrix = matrix, bright
        return replace(
            common, gray=True, crystal=(bright,) * 3, matrix=(matrix,) * 3, brightness_spread=0.06,
            rim=float(rng.uniform(-0.1, 0.3)), matrix_texture=float(rng.uniform(0.03, 0.14)), line=-0.05,
            scratches=0, pores=0,
        )  # fmt: skip
    if kind == "pebbles":
        tint = np.array([0.62, 0.55, 0.45]) * rng.uniform(0.6, 1.2)
        return replace(
            common, crystal=(0.5, 0.48, 0.46), matrix=tuple(tint), colour_spread=0.06, brightness_spread=0.15,
            shading=float(rng.uniform(0.1, 0.4)), line=float(rng.uniform(-0.3, 0)), scratches=0,
            matrix_texture=float(rng.uniform(0.05, 0.16)), texture_scale=float(rng.uniform(1.5, 4)),
            gray=bool(rng.random() < 0.1),
        )  # fmt: skip
    style = rng.choice(["etched", "polarised", "sem"], p=(0.5, 0.3, 0.2))
    base = np.clip(rng.uniform(0.35, 0.8) + rng.normal(0, 0.06, 3), 0.25, 0.85)
    # A grain lies in dark or bright resin, with contrast to it nearly always.
    matrix = np.clip(base + rng.choice([-1, 1], p=(0.8, 0.2)) * rng.uniform(0.15, 0.7) + rng.normal(0, 0.03, 3), 0, 1)
    common = replace(common, crystal=tuple(base), matrix=tuple(matrix))
    if style == "polarised":
        return replace(
            common, colour_spread=float(rng.uniform(0.06, 0.2)), brightness_spread=float(rng.uniform(0.04, 0.15)),
            line=float(rng.choice([0.0, 0.0, -0.25])),
        )  # fmt: skip
    if style == "sem":
        return replace(
            common, gray=True, brightness_spread=float(rng.uniform(0.0, 0.12)),
            line=float((1 if base.mean() < 0.5 else -1) * rng.uniform(0.12, 0.45)),
        )  # fmt: skip
    return replace(
        common, brightness_spread=float(rng.choice([0.0, 0.02, 0.06])), line=float(rng.uniform(-0.6, -0.12)),
        vanishing=common.vanishing * 0.6, gray=bool(rng.random() < 0.3),
    )  # fmt: skip


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
        if look.shading:
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
