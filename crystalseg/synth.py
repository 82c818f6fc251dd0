"""Synthetic micrographs with exact labels: for training, for tests, and for trying the tool.

`draw` makes one from a seed: a `Structure` says where the crystals are, a `Look` how the microscope shows them.
Both are drawn at random unless given. Polycrystals are Laguerre (power) tessellations of randomly packed discs with
log-normal diameters; particles are irregular discs that may lie over one another.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from crystalseg.evaluate.metrics import size_class as classify
from crystalseg.flows import tidy
from crystalseg.look import Look, random_look, render
from crystalseg.packing import POLYCRYSTALS, Geometry, Kind, laguerre, pack, paint, smooth_noise

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
    look = look or random_look(rng, structure.kind, structure.diameter)
    place = _polycrystal if structure.kind in POLYCRYSTALS else _particles
    geometry = place(rng, shape, structure)
    image = render(rng, geometry, look)
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


# --- geometry -------------------------------------------------------------------------------------------------------


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


def _polycrystal(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
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
    return Geometry(owner, len(sites), gap=gap)


def _particles(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
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
    return Geometry(owner, len(sites), edge=edge, slope=slope)


def _labels(geometry: Geometry, structure: Structure) -> np.ndarray:
    labels = geometry.owner
    if geometry.gap is not None and structure.kind != "single":
        labels = np.where(geometry.gap < structure.boundary / 2, 0, labels)
    return tidy(labels, MIN_AREA)


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
        made = draw(int(rng.integers(2**60)) * 2 + 1, *random_grain(rng, size_class))
        if made.labels.max() and classify(made.labels) == size_class:
            return made


def random_grain(rng: np.random.Generator, size_class: int) -> tuple[tuple[int, int], Structure, Look]:
    """Shape, structure and look of a grain that probably is of class 1, 2 or 3; arguments for `draw`."""
    # Sides and diameters were set so that the average crystal size of each class comes near the paper's table III.
    low, high = {1: (150, 800), 2: (600, 1800), 3: (300, 1400)}[size_class]
    side = np.exp(rng.uniform(np.log(low), np.log(high)))
    shape = tuple(int(np.clip(side * s, 150, 1800)) for s in np.exp(rng.uniform(-0.2, 0.2, 2)))
    kind: Kind = "grain"
    if size_class == 2 and rng.random() < 0.3:
        kind = "cluster"
    elif rng.random() < 0.06:
        kind = "single"
    structure = random_structure(rng, shape, kind)
    if kind == "grain":
        share = {1: (0.15, 0.4), 2: (0.08, 0.25), 3: (0.2, 0.5)}[size_class]
        diameter = max(14.0, min(shape) * np.exp(rng.uniform(*np.log(share))))
        structure = replace(structure, diameter=float(diameter), spread=float(rng.uniform(0.2, 0.8)))
    structure = replace(structure, boundary=5.0)
    return shape, structure, random_look(rng, structure.kind, structure.diameter)
