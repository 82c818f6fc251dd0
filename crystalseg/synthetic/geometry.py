"""Turn a structure into geometry: find the crystal to which each pixel of a synthetic micrograph belongs."""

from dataclasses import replace

import cv2
import numpy as np

from crystalseg.micrographs.labels import tidy
from crystalseg.synthetic import habits
from crystalseg.synthetic.packing import GROWN, ON_GROUND, Geometry, laguerre, pack, paint, smooth_noise
from crystalseg.synthetic.structure import Structure

MIN_AREA = 15  # px²; smaller pieces are not labelled, as in the labelled sets of real images
MAX_CRYSTALS = 3000


def place_polycrystal(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
    if structure.kind == "columnar":
        sites, owner, gap = _columns(rng, shape, structure)
    else:
        sites = _sites(rng, shape, structure)
        owner, gap = laguerre(sites, *shape, 12.0)
    if len(sites) > 1:
        d = structure.diameter
        undulations = structure.waviness * d, max(0.5 * d, 6.0)
        indentations = structure.raggedness * d, max(0.12 * d, 3.0)
        for bend, scale in (undulations, indentations):
            if bend > 0.3:
                owner, gap = _bent(rng, owner, gap, bend, scale)
    tone = habits.bands(rng, owner, structure, sites) if structure.bands else None
    if structure.kind in ON_GROUND:
        inside = _blob(rng, shape)
        owner = np.where(inside, owner, 0)
        gap = np.where(inside, gap, 12.0).astype(np.float32)
    if structure.porosity:
        owner = np.where(habits.pores_on(rng, gap, structure), 0, owner)
    return Geometry(owner, len(sites), gap=gap, tone=tone)


def _sites(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> np.ndarray:
    """Pack discs (n, 3), y, x, r, the largest first. Their power diagram is the polycrystal."""
    h, w = shape
    if structure.kind == "single":
        return np.array([[h / 2, w / 2, 1.0]])
    radii = _radii(rng, structure, h * w, 0.9 * min(shape))
    if structure.kind == "cluster":
        huge = rng.uniform(0.2, 0.38, rng.integers(1, 3)) * min(shape)
        radii = np.concatenate((np.sort(huge)[::-1], radii[radii < huge.min() / 4]))
    tries = 12
    ys, xs = rng.uniform(0, h, (len(radii), tries)), rng.uniform(0, w, (len(radii), tries))
    if structure.kind == "cluster":
        first = (len(huge), tries)
        ys[: len(huge)], xs[: len(huge)] = rng.uniform(0.3, 0.7, first) * h, rng.uniform(0.3, 0.7, first) * w
    return pack(radii, ys, xs, 0.85)


def _columns(
    rng: np.random.Generator, shape: tuple[int, int], structure: Structure
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make grains that are long in one direction: a polycrystal on a wider grid, narrowed. Returns sites, and owner and
    gap as `laguerre` does."""
    upright = rng.random() < 0.5
    h, w = shape if upright else shape[::-1]
    wide = round(w * structure.elongation)
    sites = _sites(rng, (h, wide), replace(structure, diameter=structure.diameter * structure.elongation**0.5))
    owner = laguerre(sites, h, wide, 12.0)[0]
    columns = ((np.arange(w) + 0.5) * wide / w).astype(int)
    owner = owner[:, columns] if upright else owner[:, columns].T
    sites = sites * (1, w / wide, structure.elongation**-0.5)
    sites = sites if upright else sites[:, [1, 0, 2]]
    wall = np.zeros(shape, bool)
    wall[:-1] |= owner[:-1] != owner[1:]
    wall[:, :-1] |= owner[:, :-1] != owner[:, 1:]
    gap = cv2.distanceTransform((~wall).astype(np.uint8), cv2.DIST_L2, 5)
    return sites, np.ascontiguousarray(owner), np.minimum(gap, 12).astype(np.float32)


def _bent(
    rng: np.random.Generator, owner: np.ndarray, gap: np.ndarray, bend: float, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Displace boundaries by noise of `bend` px with features about `scale` px wide."""
    h, w = shape = owner.shape
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    x += bend * smooth_noise(rng, shape, scale)
    y += bend * smooth_noise(rng, shape, scale)
    # float32 holds every crystal number exactly
    owner = cv2.remap(owner.astype(np.float32), x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    return owner.astype(np.int32), cv2.remap(gap, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def place_particles(rng: np.random.Generator, shape: tuple[int, int], structure: Structure) -> Geometry:
    h, w = shape
    radii = _radii(rng, structure, h * w, 0.6 * min(shape))
    tries = 12
    if structure.kind == "agglomerates":
        ys, xs = habits.heap(rng, shape, len(radii), tries)
    else:
        # Centres may lie outside, so that the edge of the image cuts particles as it does in a real field.
        ys = rng.uniform(-0.1, 1.1, (len(radii), tries)) * h
        xs = rng.uniform(-0.1, 1.1, (len(radii), tries)) * w
    tolerance = 1.0 if structure.kind == "precipitates" else rng.uniform(0.7, 1.0)
    sites = pack(radii, ys, xs, tolerance)
    sites = sites[rng.permutation(len(sites))]
    n = len(sites)
    if structure.kind in GROWN:
        outlines, facet = habits.outlines_of(rng, structure, n)
    else:
        outlines, facet = _rounded(rng, structure, n), None
    stretch = np.sqrt(1 + (structure.elongation - 1) * rng.uniform(0, 2, n))
    turn = rng.uniform(0, np.pi, n)
    overlap = float(rng.choice([0.02, 0.5])) if facet is not None else 1.0
    owner, edge, slope = paint(h, w, sites, outlines, stretch, turn, overlap)
    tone = None if facet is None else habits.facets(owner, slope, facet, stretch, turn)
    return Geometry(owner, n, edge=edge, slope=slope, tone=tone)


def _rounded(rng: np.random.Generator, structure: Structure, count: int) -> np.ndarray:
    """Draw irregular discs: radius by angle, float (count, 48)."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    outlines = np.ones((count, 48))
    for k in range(2, 8):
        size = structure.irregularity * rng.standard_normal((count, 1)) * 2 / k
        outlines += size * np.cos(k * angle + rng.uniform(0, 2 * np.pi, (count, 1)))
    return np.clip(outlines, 0.5, 1.4)


def labels_of(geometry: Geometry, structure: Structure) -> np.ndarray:
    labels = geometry.owner
    if geometry.gap is not None and structure.kind != "single":
        labels = np.where(geometry.gap < structure.boundary / 2, 0, labels)
    return tidy(labels, MIN_AREA)


def _radii(rng: np.random.Generator, structure: Structure, area: float, largest: float) -> np.ndarray:
    """Draw log-normal radii, in descending order, whose discs cover `area` × coverage."""
    mean_area = np.pi / 4 * structure.diameter**2 * np.exp(2 * structure.spread**2)
    n = int(np.clip(1.5 * structure.coverage * area / mean_area + 10, 10, 2 * MAX_CRYSTALS))
    radii = structure.diameter / 2 * np.exp(structure.spread * rng.standard_normal(n))
    radii = np.clip(radii, 3.0, largest / 2)
    enough = np.searchsorted(np.cumsum(np.pi * radii**2), structure.coverage * area) + 1
    return np.sort(radii[: min(enough, MAX_CRYSTALS)])[::-1]


def _blob(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw the outline of a grain: a wobbly ellipse in the middle of the image, bool (H, W)."""
    h, w = shape
    y = (np.arange(h, dtype=np.float32)[:, None] - h / 2) / (h / 2)
    x = (np.arange(w, dtype=np.float32)[None] - w / 2) / (w / 2)
    radius = np.sqrt(y * y + x * x)
    angle = np.arctan2(y, x)
    outline = np.full(shape, rng.uniform(0.75, 0.95), np.float32)
    for k in range(2, 7):
        outline += rng.normal(0, 0.09 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return radius < outline + 0.01 * smooth_noise(rng, shape, max(shape) / 40)
