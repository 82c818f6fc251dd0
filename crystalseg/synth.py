"""Synthetic micrographs with exact labels: for training, for tests, and for trying the tool.

`draw` makes one from a seed: a `Structure` says where the crystals are, a `Look` how the microscope shows them.
Both are drawn at random unless given. Polycrystals are Laguerre (power) tessellations of randomly packed discs with
log-normal diameters; particles are irregular discs that may lie over one another.
"""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from crystalseg.evaluate.metrics import size_class as classify
from crystalseg.flows import tidy
from crystalseg.packing import laguerre, pack, paint, smooth_noise

Kind = Literal["polycrystal", "grain", "single", "cluster", "powder", "pebbles", "precipitates"]
POLYCRYSTALS = ("polycrystal", "grain", "single", "cluster")
MIN_AREA = 15  # px², smaller pieces are not labelled; the real label sets have the same limit
MAX_CRYSTALS = 3000


@dataclass(frozen=True)
class Structure:
    """Where the crystals are. Lengths in px.

    kind: `polycrystal` fills the image; `grain` is a polycrystal on a background; `single` is one crystal on a
        background; `cluster` is a grain with one huge crystal among tiny ones; `powder`, `pebbles` and `precipitates`
        are particles on a matrix.
    diameter: median crystal diameter before packing (of the tiny crystals in a `cluster`).
    spread: standard deviation of the logarithm of the diameter.
    coverage: share of the area that the packed discs are asked to cover, 0 to 1.
    boundary: width of the unlabelled line between adjacent crystals of a polycrystal (paper: about 5 px).
    waviness: amplitude of boundary undulation, as a share of the diameter.
    elongation: ratio of long to short axis of particles.
    irregularity: relative amplitude of a particle's outline about its ellipse.
    """

    kind: Kind
    diameter: float = 50.0
    spread: float = 0.5
    coverage: float = 0.7
    boundary: float = 5.0
    waviness: float = 0.05
    elongation: float = 1.2
    irregularity: float = 0.03


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
    scratches, pores, impurities: their number.
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
    unevenness: float = 0.05
    blur: float = 0.7
    noise: float = 0.02
    gray: bool = False


@dataclass(frozen=True)
class Synthetic:
    """image uint8 (H, W, 3) RGB; labels int32 (H, W), 0 = background, 1..n; and what they were drawn from."""

    image: np.ndarray
    labels: np.ndarray
    structure: Structure
    look: Look


def draw(
    seed: int,
    shape: tuple[int, int] = (1000, 1000),
    structure: Structure | None = None,
    look: Look | None = None,
) -> Synthetic:
    """One synthetic micrograph of `shape` (H, W); the same arguments give the same pixels."""
    rng = np.random.default_rng(seed)
    structure = structure or random_structure(rng, shape)
    look = look or random_look(rng, structure.kind)
    place = _polycrystal if structure.kind in POLYCRYSTALS else _particles
    geometry = place(rng, shape, structure)
    image = _render(rng, geometry, look)
    return Synthetic(image, _labels(geometry, structure), structure, look)


def random_structure(rng: np.random.Generator, shape: tuple[int, int], kind: Kind | None = None) -> Structure:
    """A structure typical of its kind for an image of `shape`; the kind too is drawn unless given."""
    side = min(shape)
    if kind is None:
        kinds = ("polycrystal", "grain", "single", "cluster", "powder", "pebbles", "precipitates")
        kind = str(rng.choice(kinds, p=(0.22, 0.2, 0.04, 0.14, 0.16, 0.12, 0.12)))
    dense = kind in POLYCRYSTALS
    smallest = 14 if dense else 9
    largest = side * {"cluster": 0.1, "precipitates": 0.08}.get(kind, 0.3)
    particles = {"precipitates": (0.1, 0.35), "powder": (0.3, 0.95)}.get(kind, (0.2, 0.8))
    return Structure(
        kind=kind,
        diameter=float(np.exp(rng.uniform(np.log(smallest), np.log(max(largest, smallest * 1.5))))),
        spread=float(rng.uniform(0.15, 0.9)),
        coverage=float(rng.uniform(0.6, 0.75) if dense else rng.uniform(*particles)),
        boundary=float(rng.uniform(3, 6)) if rng.random() < 0.7 else 1.5,
        waviness=float(rng.choice([0.02, 0.06, 0.15])),
        elongation=float(rng.uniform(1.0, 1.12) if kind == "powder" else rng.uniform(1.0, 2.2)),
        irregularity=float(rng.uniform(0, 0.02) if kind == "powder" else rng.uniform(0.01, 0.1)),
    )


def random_look(rng: np.random.Generator, kind: Kind) -> Look:
    """A look typical of the kind: etched, polarised or SEM for polycrystals; SEM or daylight for particles."""
    common = Look(
        unevenness=float(rng.uniform(0, 0.12)),
        blur=float(rng.uniform(0.3, 1.6)),
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.06)))),
        texture_scale=float(np.exp(rng.uniform(np.log(1.0), np.log(8.0)))),
        vanishing=float(rng.uniform(0, 0.35)),
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
    base = np.clip(rng.uniform(0.35, 0.9) + rng.normal(0, 0.06, 3), 0.2, 0.95)
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
            line=float(rng.choice([-1, -1, 1]) * rng.uniform(0.12, 0.45)),
        )  # fmt: skip
    return replace(
        common, brightness_spread=float(rng.choice([0.0, 0.02, 0.06])), line=float(rng.uniform(-0.6, -0.12)),
        vanishing=common.vanishing * 0.6, gray=bool(rng.random() < 0.3),
    )  # fmt: skip


# --- geometry -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Geometry:
    """owner int32 (H, W): which crystal, 0 = matrix; gap float32: distance to the nearest other crystal's edge (px);
    edge float32: 0 at a particle's centre to 1 at its edge; slope float32 (2, H, W): where on the particle (dy, dx)."""

    owner: np.ndarray
    count: int
    gap: np.ndarray | None = None
    edge: np.ndarray | None = None
    slope: np.ndarray | None = None


def _radii(rng: np.random.Generator, structure: Structure, area: float, largest: float) -> np.ndarray:
    """Log-normal radii, descending, whose discs cover `area` × coverage."""
    mean_area = np.pi / 4 * structure.diameter**2 * np.exp(2 * structure.spread**2)
    n = int(np.clip(1.5 * structure.coverage * area / mean_area + 10, 10, 2 * MAX_CRYSTALS))
    radii = structure.diameter / 2 * np.exp(structure.spread * rng.standard_normal(n))
    radii = np.clip(radii, 3.0, largest / 2)
    enough = np.searchsorted(np.cumsum(np.pi * radii**2), structure.coverage * area) + 1
    return np.sort(radii[: min(enough, MAX_CRYSTALS)])[::-1]


def _blob(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A grain's outline: a wobbly ellipse in the middle of the image, bool (H, W)."""
    h, w = shape
    y = (np.arange(h, dtype=np.float32)[:, None] - h / 2) / (h / 2)
    x = (np.arange(w, dtype=np.float32)[None] - w / 2) / (w / 2)
    radius = np.sqrt(y * y + x * x)
    angle = np.arctan2(y, x)
    outline = np.full(shape, rng.uniform(0.75, 0.95), np.float32)
    for k in range(2, 7):
        outline += rng.normal(0, 0.09 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return radius < outline + 0.01 * smooth_noise(rng, shape, max(shape) / 40)


def _polycrystal(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> _Geometry:
    h, w = shape
    largest = 0.9 * min(shape)
    if structure.kind == "single":
        sites = np.array([[h / 2, w / 2, 1.0]])
    else:
        radii = _radii(rng, structure, h * w, largest)
        if structure.kind == "cluster":
            huge = rng.uniform(0.2, 0.38, rng.integers(1, 3)) * min(shape)
            radii = np.concatenate((np.sort(huge)[::-1], radii[radii < huge.min() / 4]))
        tries = 12
        ys, xs = rng.uniform(0, h, (len(radii), tries)), rng.uniform(0, w, (len(radii), tries))
        if structure.kind == "cluster":
            first = (len(huge), tries)
            ys[: len(huge)], xs[: len(huge)] = rng.uniform(0.3, 0.7, first) * h, rng.uniform(0.3, 0.7, first) * w
        sites = pack(radii, ys, xs, 0.85)
    owner, gap = laguerre(sites, h, w, 12.0)
    bend = structure.waviness * structure.diameter
    if bend > 0.3 and len(sites) > 1:
        scale = max(structure.diameter / 2, 6.0)
        x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
        x += bend * smooth_noise(rng, shape, scale)
        y += bend * smooth_noise(rng, shape, scale)
        # float32 holds every crystal number exactly
        owner = cv2.remap(owner.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
        owner = owner.astype(np.int32)
        gap = cv2.remap(gap, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if structure.kind != "polycrystal":
        inside = _blob(rng, shape)
        owner = np.where(inside, owner, 0)
        gap = np.where(inside, gap, 12.0).astype(np.float32)
    return _Geometry(owner, len(sites), gap=gap)


def _particles(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> _Geometry:
    h, w = shape
    radii = _radii(rng, structure, h * w, 0.6 * min(shape))
    tries = 12
    # Centres may lie outside, so that the image's edge cuts particles as it does in a real field.
    ys = rng.uniform(-0.1, 1.1, (len(radii), tries)) * h
    xs = rng.uniform(-0.1, 1.1, (len(radii), tries)) * w
    overlap = 1.0 if structure.kind == "precipitates" else rng.uniform(0.7, 1.0)
    sites = pack(radii, ys, xs, overlap)
    sites = sites[rng.permutation(len(sites))]
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    outlines = np.ones((len(sites), 48))
    for k in range(2, 8):
        size = structure.irregularity * rng.standard_normal((len(sites), 1)) * 2 / k
        outlines += size * np.cos(k * angle + rng.uniform(0, 2 * np.pi, (len(sites), 1)))
    stretch = np.sqrt(1 + (structure.elongation - 1) * rng.uniform(0, 2, len(sites)))
    turn = rng.uniform(0, np.pi, len(sites))
    owner, edge, slope = paint(h, w, sites, np.clip(outlines, 0.5, 1.4), stretch, turn)
    return _Geometry(owner, len(sites), edge=edge, slope=slope)


def _labels(geometry: _Geometry, structure: Structure) -> np.ndarray:
    labels = geometry.owner
    if geometry.gap is not None and structure.kind != "single":
        labels = np.where(geometry.gap < structure.boundary / 2, 0, labels)
    return tidy(labels, MIN_AREA)


# --- appearance -----------------------------------------------------------------------------------------------------


def _render(rng: np.random.Generator, geometry: _Geometry, look: Look) -> np.ndarray:
    """Picture uint8 (H, W, 3) of the geometry."""
    owner = geometry.owner
    shape = owner.shape
    colours = look.crystal + rng.normal(0, look.brightness_spread, (geometry.count + 1, 1))
    colours = colours + rng.normal(0, look.colour_spread + 1e-9, (geometry.count + 1, 3))
    colours[0] = look.matrix
    image = np.clip(colours, 0.01, 1).astype(np.float32)[owner]

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
            size = np.exp(rng.normal(1.0, 0.6)) * (1 if low < -0.5 else 2.5)
            axes = (int(size * rng.uniform(0.7, 1.3)) + 1, int(size * rng.uniform(0.7, 1.3)) + 1)
            centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
            cv2.ellipse(marks, centre, axes, rng.uniform(0, 180), 0, 360, float(rng.uniform(low, high)), -1)
    return marks


# --- sets -----------------------------------------------------------------------------------------------------------


def _set_seed(seed: int, index: int) -> int:
    """Odd, so that no image of a set is one that training draws (those have even seeds)."""
    return 2 * (1_000_003 * seed + index) + 1


def draw_random(seed: int, index: int) -> Synthetic:
    """Image `index` of the mixed set `seed`: any kind, sides of 256 to 1200 px."""
    number = _set_seed(seed, index)
    rng = np.random.default_rng((number, 1))
    side = np.exp(rng.uniform(np.log(256), np.log(1200)))
    return draw(number, tuple(int(side * s) for s in np.exp(rng.uniform(-0.2, 0.2, 2))))


def draw_grain(seed: int, index: int, size_class: int) -> Synthetic:
    """Image `index` of the grain set `seed`: a cut-out of one grain as in the paper (section IV-A), of class 1, 2 or 3.

    Sides of 150 to 1800 px, crystals of 8 px and more. Grains are drawn until one is of the class.
    """
    rng = np.random.default_rng((_set_seed(seed, index), size_class))
    while True:
        made = draw(int(rng.integers(2**60)) * 2 + 1, *_grain(rng, size_class))
        if made.labels.max() and classify(made.labels) == size_class:
            return made


def _grain(rng: np.random.Generator, size_class: int) -> tuple[tuple[int, int], Structure, Look]:
    low, high = {1: (150, 700), 2: (450, 1800), 3: (300, 1800)}[size_class]
    side = np.exp(rng.uniform(np.log(low), np.log(high)))
    shape = tuple(int(np.clip(side * s, 150, 1800)) for s in np.exp(rng.uniform(-0.2, 0.2, 2)))
    kind: Kind = "grain"
    if size_class == 2 and rng.random() < 0.5:
        kind = "cluster"
    elif rng.random() < 0.06:
        kind = "single"
    structure = random_structure(rng, shape, kind)
    if kind == "grain":
        share = {1: (0.05, 0.25), 2: (0.04, 0.2), 3: (0.2, 0.6)}[size_class]
        diameter = max(14.0, min(shape) * np.exp(rng.uniform(*np.log(share))))
        structure = replace(structure, diameter=float(diameter), spread=float(rng.uniform(0.2, 0.8)))
    return shape, replace(structure, boundary=5.0), random_look(rng, kind)
