"""Fields with known truth: grains of Voronoi tessellations in the plane and cut through space, particles at points.

Crystals of one field are not independent here, as they are not in a micrograph: what is large leaves its neighbours
less.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.measurement.field import Field

SIDE = 200  # px
CRYSTALS = 115  # in a field, in the mean
SECTIONS = (
    1.458  # grains per unit area of a plane through a Poisson–Voronoi tessellation with one grain per unit volume
)
SPREAD = 0.35  # standard deviation of the logarithm of a particle's diameter
SHARE = 0.2  # of the area that particles cover, about


def _pixels(z: float | None = None) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE].reshape(2, -1) + 0.5
    return np.column_stack((y, x) if z is None else (y, x, np.full(y.size, z)))


def _spacing(crystals: float) -> float:
    return SIDE / np.sqrt(crystals)


def _poisson(rng: np.random.Generator, sides: np.ndarray, per: float, margin: float) -> np.ndarray:
    """Points of a Poisson process, `per` a unit volume, in a box of `sides` with a margin all around."""
    sides = sides + 2 * margin
    return rng.uniform(0, 1, (rng.poisson(per * sides.prod()), len(sides))) * sides - margin


def planar(rng: np.random.Generator, crystals: float) -> np.ndarray:
    """Grains of a Poisson–Voronoi tessellation of the plane."""
    spacing = _spacing(crystals)
    points = _poisson(rng, np.array([SIDE, SIDE]), spacing**-2, 4 * spacing)
    return cKDTree(points).query(_pixels())[1]


def section(rng: np.random.Generator, crystals: float) -> np.ndarray:
    """Grains of a plane section of a Poisson–Voronoi tessellation of space (SECTIONS: Miles 1972; Okabe et al. 2000,
    Spatial Tessellations, table 5.5.3)."""
    spacing = _spacing(crystals) * np.sqrt(SECTIONS)
    points = _poisson(rng, np.array([SIDE, SIDE, 0]), spacing**-3, 3 * spacing)
    return cKDTree(points).query(_pixels(0.0))[1]


def regular(rng: np.random.Generator, crystals: float) -> np.ndarray:
    """Grains about the points of a square lattice that lies anyhow, each moved by a fifth of the spacing (normal)."""
    return cKDTree(_lattice(rng, _spacing(crystals), 0.2)).query(_pixels())[1]


def _lattice(rng: np.random.Generator, spacing: float, moved: float) -> np.ndarray:
    steps = np.arange(-SIDE, SIDE, spacing)
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) + rng.uniform(0, spacing, 2)
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return points @ turn + SIDE / 2 + rng.normal(0, moved * spacing, points.shape)


def _particles(rng: np.random.Generator, points: np.ndarray, crystals: float) -> np.ndarray:
    """Discs of log-normal diameters at points; where two overlap, a pixel belongs to the nearer one. −1: matrix."""
    typical = 2 * np.sqrt(SHARE * SIDE**2 / crystals / np.pi / np.exp(2 * SPREAD**2))
    radii = typical / 2 * rng.lognormal(0, SPREAD, len(points))
    distance, nearest = cKDTree(points).query(_pixels())
    return np.where(distance < radii[nearest], nearest, -1)


def apart(rng: np.random.Generator, crystals: float) -> np.ndarray:
    """Particles at regular points."""
    return _particles(rng, _lattice(rng, _spacing(crystals), 0.15), crystals)


def clustered(rng: np.random.Generator, crystals: float) -> np.ndarray:
    """Particles in clusters of 6 in the mean, a normal distance of half a spacing from their middle (Thomas)."""
    spacing = _spacing(crystals)
    parents = _poisson(rng, np.array([SIDE, SIDE]), spacing**-2 / 6, 4 * spacing)
    points = np.repeat(parents, rng.poisson(6, len(parents)), axis=0)
    return _particles(rng, points + rng.normal(0, 0.5 * spacing, points.shape), crystals)


STRUCTURES: Mapping[str, Callable[[np.random.Generator, float], np.ndarray]] = {
    "planar Voronoi": planar,
    "section of 3-D Voronoi": section,
    "regular grains": regular,
    "regular particles": apart,
    "clustered particles": clustered,
}


def drawn(structure: str, rng: np.random.Generator, crystals: float = CRYSTALS) -> Field:
    """A field of a structure, SIDE × SIDE px of 1 µm."""
    names = STRUCTURES[structure](rng, crystals).reshape(SIDE, SIDE)
    _, labels = np.unique(names, return_inverse=True)
    labels = labels.reshape(SIDE, SIDE).astype(np.int32) + (names.min() >= 0)
    return Field(labels, table(labels), 1.0)


def sized(diameters: np.ndarray, seed: int = 0) -> Field:
    """A field with crystals of these diameters, px of 1 µm, anywhere; areas are exact, the labels single pixels."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    places = np.random.default_rng(seed).choice(SIDE**2, len(diameters), replace=False)
    labels.ravel()[places] = np.arange(1, len(diameters) + 1)
    found = table(labels).assign(touches_border=False)
    for unit in ("px", "um"):
        found[f"equivalent_diameter_{unit}"], found[f"area_{unit}2"] = diameters, np.pi / 4 * diameters**2
    return Field(labels, found, 1.0)


def table(labels: np.ndarray) -> pd.DataFrame:
    """What figures need of `measurement.crystals.measure_crystals`, at a pixel size of 1 µm and much sooner; the aspect
    ratio is that of the axes of inertia."""
    boxes = find_objects(labels)
    rows, columns = np.array([[(side.start, side.stop) for side in box] for box in boxes]).transpose(1, 2, 0)
    names = labels.ravel()
    y, x = np.indices(labels.shape).reshape(2, -1)

    def mean_of(values: np.ndarray) -> np.ndarray:
        return np.bincount(names, values)[1:] / area

    area = np.bincount(names)[1:].astype(float)
    cx, cy = mean_of(x), mean_of(y)
    xx, yy, xy = mean_of(x * x) - cx**2, mean_of(y * y) - cy**2, mean_of(x * y) - cx * cy
    apart = np.hypot(xx - yy, 2 * xy)
    diameter = equivalent_diameter(area)
    return pd.DataFrame(
        {
            "id": np.arange(1, len(area) + 1),
            "area_px2": area,
            "area_um2": area,
            "equivalent_diameter_px": diameter,
            "equivalent_diameter_um": diameter,
            "width_px": (columns[1] - columns[0]).astype(float),
            "height_px": (rows[1] - rows[0]).astype(float),
            "aspect_ratio": np.sqrt((xx + yy - apart + 1 / 6) / (xx + yy + apart + 1 / 6)),
            "centroid_x_px": cx,
            "centroid_y_px": cy,
            "touches_border": (rows[0] == 0)
            | (columns[0] == 0)
            | (rows[1] == labels.shape[0])
            | (columns[1] == labels.shape[1]),
            "kind": "crystal",
        }
    )
