"""Shapes that crystals have by nature: outlines of particles, and bands that run through crystals without dividing
them."""

import cv2
import numpy as np

from crystalseg.synthetic.packing import smooth_noise
from crystalseg.synthetic.structure import Structure

ANGLES = 96  # angles of an outline around a particle's centre


def outlines_of(rng: np.random.Generator, structure: Structure, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw outlines: radius by angle from -π, float (count, ANGLES), mean square 1, and the brightness (-1 to 1) of the
    facet at each angle.

    `faceted`: convex polygons of 4 to 8 sides; `laths`: rectangles and needles; `dendrites`: 4 or 6 arms.
    """
    angle = np.linspace(-np.pi, np.pi, ANGLES, endpoint=False)
    tone = np.zeros((count, ANGLES))
    if structure.kind == "faceted":
        outlines = np.empty((count, ANGLES))
        for k in range(count):
            outlines[k], tone[k] = _polygon(rng, angle)
    elif structure.kind == "laths":
        rectangle = 1 / np.maximum(np.abs(np.cos(angle)), np.abs(np.sin(angle)))
        needle = 1 / (np.abs(np.cos(angle)) + np.abs(np.sin(angle)))
        outlines = np.where(rng.random((count, 1)) < rng.uniform(0, 1), rectangle, needle)
    else:
        arms = rng.choice([4, 6]) * angle + rng.uniform(0, 2 * np.pi, (count, 1))
        outlines = 0.8 + rng.uniform(0.3, 0.5, (count, 1)) * np.cos(arms) + 0.1 * np.cos(3 * arms)
    outlines = outlines * (1 + structure.irregularity * rng.standard_normal((count, 1)) * np.cos(2 * angle))
    outlines /= np.sqrt(np.square(outlines).mean(axis=1, keepdims=True))
    return np.clip(outlines, 0.2, 1.45), tone


def _polygon(rng: np.random.Generator, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw a convex polygon around the origin: radius by angle, and a random brightness for each side."""
    sides = int(rng.integers(4, 9))
    normals = (np.arange(sides) + rng.uniform(-0.25, 0.25, sides)) * 2 * np.pi / sides
    away = rng.uniform(0.75, 1.15, (sides, 1))
    towards = np.maximum(np.cos(angle - normals[:, None]), 1e-3)
    side = (away / towards).argmin(axis=0)
    return (away / towards).min(axis=0), rng.uniform(-1, 1, sides)[side]


def facets(owner: np.ndarray, slope: np.ndarray, tone: np.ndarray, stretch: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the brightness of the facet on which each pixel lies, float32 (H, W). `slope`, `stretch` and `turn` are
    those of `paint`."""
    tone, stretch, turn = (np.concatenate((np.zeros_like(a[:1]), a)) for a in (tone, stretch, turn))
    cos, sin = np.cos(turn)[owner], np.sin(turn)[owner]
    along = (cos * slope[1] + sin * slope[0]) / np.maximum(stretch, 1e-6)[owner]
    across = (cos * slope[0] - sin * slope[1]) * stretch[owner]
    angle = ((np.arctan2(across, along) / (2 * np.pi) + 0.5) * ANGLES).astype(int) % ANGLES
    return tone[owner, angle].astype(np.float32)


def heap(rng: np.random.Generator, shape: tuple[int, int], count: int, tries: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw places (y, x), each (count, tries), around one to six points: agglomerates on a plain ground."""
    heaps = rng.uniform(0, 1, (rng.integers(1, 7), 2)) * shape
    width = min(shape) * rng.uniform(0.04, 0.2)
    middle = heaps[rng.integers(len(heaps), size=(count, tries))]
    places = middle + rng.normal(0, width, (count, tries, 2))
    return places[..., 0], places[..., 1]


def bands(rng: np.random.Generator, owner: np.ndarray, structure: Structure, sites: np.ndarray) -> np.ndarray:
    """Draw twins (one to three straight bands in about half of the crystals) or lamellae: float32 (H, W), -1 to 1."""
    n = len(sites) + 1
    y, x = np.mgrid[: owner.shape[0], : owner.shape[1]].astype(np.float32)
    turn = rng.uniform(0, np.pi, n).astype(np.float32)
    along = np.cos(turn)[owner] * x + np.sin(turn)[owner] * y
    if structure.bands == "lamellae":
        period = np.exp(rng.uniform(np.log(2.5), np.log(8.0)))
        wave = np.sin(2 * np.pi * along / period + 2 * smooth_noise(rng, owner.shape, 20.0))
        return np.where(owner > 0, np.clip(2 * wave, -1, 1), 0).astype(np.float32)
    tone = np.zeros(owner.shape, np.float32)
    radius = np.concatenate(([0.0], sites[:, 2]))
    middle = np.concatenate(([0.0], np.cos(turn[1:]) * sites[:, 1] + np.sin(turn[1:]) * sites[:, 0]))
    sign = rng.choice([-1.0, 1.0], n)
    for share in (0.5, 0.25, 0.15):
        half = np.where(rng.random(n) < share, rng.uniform(0.04, 0.3, n) * radius, 0).astype(np.float32)
        place = (middle + rng.uniform(-0.7, 0.7, n) * radius).astype(np.float32)
        within = np.abs(along - place[owner]) < half[owner]
        tone = np.where(within, sign.astype(np.float32)[owner], tone)
    return tone


def pores_on(rng: np.random.Generator, gap: np.ndarray, structure: Structure) -> np.ndarray:
    """Draw pores of a polycrystal, most of them where crystals meet: bool (H, W), with about the share that the
    structure asks for."""
    pores = np.zeros(gap.shape, np.uint8)
    places = np.argwhere(gap < 1.5)
    if not len(places):
        return pores > 0
    size = structure.diameter * rng.uniform(0.08, 0.25)
    wanted = int(np.clip(structure.porosity * gap.size / (np.pi * size**2 + 1), 1, 4000))
    for y, x in places[rng.integers(len(places), size=wanted)]:
        axes = np.maximum(1, size * np.exp(rng.normal(0, 0.4)) * rng.uniform(0.6, 1.4, 2)).astype(int)
        cv2.ellipse(pores, (int(x), int(y)), axes.tolist(), float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return pores > 0
