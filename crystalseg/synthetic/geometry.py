"""A structure carried out: which crystal each pixel of a synthetic micrograph belongs to."""

import cv2
import numpy as np

from crystalseg.micrographs.labels import tidy
from crystalseg.synthetic.packing import Geometry, laguerre, pack, paint, smooth_noise
from crystalseg.synthetic.structure import Structure

MIN_AREA = 15  # px², smaller pieces are not labelled; the real label sets have the same limit
MAX_CRYSTALS = 3000


def place_polycrystal(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
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


def place_particles(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
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


def labels_of(geometry: Geometry, structure: Structure) -> np.ndarray:
    labels = geometry.owner
    if geometry.gap is not None and structure.kind != "single":
        labels = np.where(geometry.gap < structure.boundary / 2, 0, labels)
    return tidy(labels, MIN_AREA)


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
