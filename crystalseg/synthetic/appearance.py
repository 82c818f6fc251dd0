"""How synthetic micrographs look: colours, texture, boundary lines, dirt and the camera."""

from dataclasses import dataclass, replace

import numpy as np

from crystalseg.synthetic.packing import POLYCRYSTALS, Kind


@dataclass(frozen=True)
class Look:
    """How the crystals appear. Intensities are shares of full scale, lengths are px.

    crystal, matrix: mean RGB colour of crystals and of the matrix between or around them.
    colour_spread: standard deviation of a crystal's colour about the mean (large in polarised light).
    brightness_spread: standard deviation of a crystal's brightness.
    grain_texture, matrix_texture: standard deviation of the texture inside crystals and in the matrix.
    texture_scale: coarseness of the texture.
    line: brightness of the boundary line relative to the crystal, negative = dark; line_width: its width.
    vanishing: approximate share of the boundary length where the line fades away, 0 to 1.
    rim: brightening toward a particle's edge (SEM edge effect); shading: strength of light from one side.
    scratches, pores, impurities: their numbers; mark_size: median radius of a pore; impurities are larger.
    unevenness: amplitude of slow brightness changes over the image.
    blur: standard deviation of the point spread; noise: standard deviation of the camera noise.
    gray: whether the image is gray.
    phases: mean colours of further phases; each is as likely as `crystal`.
    tone: contrast of twins, lamellae or facets within crystals.
    relief: strength of light and shadow on crystals of different height, as in interference contrast (DIC).
    groove: brightness of the shoulders on both sides of a boundary line, as of a thermally etched groove.
    streaks: length ÷ width of the matrix's texture; 1 is no streaks.
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
    phases: tuple[tuple[float, float, float], ...] = ()
    tone: float = 0.0
    relief: float = 0.0
    groove: float = 0.0
    streaks: float = 1.0


def random_look(rng: np.random.Generator, kind: Kind, diameter: float) -> Look:
    """Draw a look that is typical of the kind: etched, polarised or SEM for polycrystals; SEM or daylight for
    particles.

    Crystals can always be traced in it: networks can neither learn from nor be judged on images that no person could
    label.
    """
    return _traceable(_random_look(rng, kind), kind, diameter)


def _traceable(look: Look, kind: Kind, diameter: float) -> Look:
    """Reduce haze and clutter of a look, and raise its contrast, as far as a person needs to trace boundaries."""
    blur = min(look.blur, max(0.4, diameter / 16))
    width = min(look.line_width, max(1.2, diameter / 6))
    look = replace(look, blur=blur, line_width=width, mark_size=min(look.mark_size, 0.06 * diameter))
    if kind not in POLYCRYSTALS:
        return look
    haze = look.noise + look.grain_texture
    contrast = 0.05 + 1.5 * haze
    if not look.line:
        return replace(look, colour_spread=max(look.colour_spread, contrast))
    # The share of the line's depth that the blur leaves. Line and blur are both roughly Gaussian.
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
    by_kind = {"powder": _powder, "precipitates": _precipitates, "pebbles": _pebbles}
    return by_kind.get(kind, _polycrystal)(rng, common)


def _powder(rng: np.random.Generator, common: Look) -> Look:
    bright = rng.uniform(0.25, 0.6)
    return replace(
        common,
        gray=True,
        crystal=(bright,) * 3,
        matrix=(rng.uniform(0.02, 0.25),) * 3,
        brightness_spread=0.07,
        rim=float(rng.uniform(0.1, 0.5)),
        shading=float(rng.uniform(0, 0.2)),
        line=-0.1,
        pores=0,
        scratches=0,
        grain_texture=float(rng.uniform(0.02, 0.1)),
    )


def _precipitates(rng: np.random.Generator, common: Look) -> Look:
    bright = rng.uniform(0.5, 0.95)
    matrix = rng.uniform(0.1, 0.4)
    if rng.random() < 0.2:
        bright, matrix = matrix, bright
    return replace(
        common,
        gray=True,
        crystal=(bright,) * 3,
        matrix=(matrix,) * 3,
        brightness_spread=0.06,
        rim=float(rng.uniform(-0.1, 0.3)),
        matrix_texture=float(rng.uniform(0.03, 0.14)),
        line=-0.05,
        scratches=0,
        pores=0,
    )


def _pebbles(rng: np.random.Generator, common: Look) -> Look:
    tint = np.array([0.62, 0.55, 0.45]) * rng.uniform(0.6, 1.2)
    return replace(
        common,
        crystal=(0.5, 0.48, 0.46),
        matrix=tuple(tint),
        colour_spread=0.06,
        brightness_spread=0.15,
        shading=float(rng.uniform(0.1, 0.4)),
        line=float(rng.uniform(-0.3, 0)),
        scratches=0,
        matrix_texture=float(rng.uniform(0.05, 0.16)),
        texture_scale=float(rng.uniform(1.5, 4)),
        gray=bool(rng.random() < 0.1),
    )


def _polycrystal(rng: np.random.Generator, common: Look) -> Look:
    style = rng.choice(["etched", "polarised", "sem"], p=(0.5, 0.3, 0.2))
    base = np.clip(rng.uniform(0.35, 0.8) + rng.normal(0, 0.06, 3), 0.25, 0.85)
    # A grain lies in dark or bright resin, and nearly always has contrast to it.
    matrix = np.clip(base + rng.choice([-1, 1], p=(0.8, 0.2)) * rng.uniform(0.15, 0.7) + rng.normal(0, 0.03, 3), 0, 1)
    common = replace(common, crystal=tuple(base), matrix=tuple(matrix))
    if style == "polarised":
        return replace(
            common,
            colour_spread=float(rng.uniform(0.06, 0.2)),
            brightness_spread=float(rng.uniform(0.04, 0.15)),
            line=float(rng.choice([0.0, 0.0, -0.25])),
        )
    if style == "sem":
        return replace(
            common,
            gray=True,
            brightness_spread=float(rng.uniform(0.0, 0.12)),
            line=float((1 if base.mean() < 0.5 else -1) * rng.uniform(0.12, 0.45)),
        )
    return replace(
        common,
        brightness_spread=float(rng.choice([0.0, 0.02, 0.06])),
        line=float(rng.uniform(-0.6, -0.12)),
        vanishing=common.vanishing * 0.6,
        gray=bool(rng.random() < 0.3),
    )
