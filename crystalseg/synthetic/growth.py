"""Synthetic series whose growth law and tracks are known: grains that curvature moves, and particles that ripen."""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import find_boundaries


@dataclass(frozen=True)
class GrowthSeries:
    """A series with known truth. labels: int32 (frames, H, W); a crystal has the same number in all frames. seconds:
    (frames,)."""

    labels: np.ndarray
    seconds: np.ndarray


def curvature_growth(
    seed: int, side: int, grains: int, frames: int, steps: int = 1, sigma: float = 4.0, before: int = 0
) -> GrowthSeries:
    """Grow a polycrystal whose boundaries move by their curvature, all alike: n = 2, and the mean area grows linearly
    in time.

    The method is threshold dynamics (Merriman, Bence & Osher 1994; Esedoglu & Otto 2015, Comm. Pure Appl. Math. 68,
    808): each grain's indicator is blurred by `sigma`, px, and each pixel goes to the grain with the largest value. The
    image is periodic. A step takes sigma² / 2, in units of px² over mobility times energy. There are `steps` steps a
    frame, and `before` steps before the first frame, in which a Voronoi diagram becomes a structure of grain growth.
    """
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, side, (grains, 2))
    y, x = np.mgrid[:side, :side] + 0.5
    labels = cKDTree(points, boxsize=side).query(np.column_stack((y.ravel(), x.ravel())))[1].reshape(side, side) + 1
    labels, reach = labels.astype(np.int32), int(np.ceil(3 * sigma))
    found = []
    for frame in range(frames):
        for _ in range(steps if frame else before):
            labels = _step(labels, sigma, reach)
        found.append(labels)
    return GrowthSeries(np.array(found), np.arange(frames) * steps * sigma**2 / 2)


def _step(labels: np.ndarray, sigma: float, reach: int) -> np.ndarray:
    wide = np.pad(labels, reach, mode="wrap")
    best, winner = np.zeros(labels.shape, np.float32), labels.copy()
    for number, box in enumerate(ndimage.find_objects(wide), start=1):
        if box is None:
            continue
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        blurred = cv2.GaussianBlur((wide[around] == number).astype(np.float32), (0, 0), sigma)
        inside: list[slice] = []
        piece: list[slice] = []
        for s, length in zip(around, labels.shape, strict=True):
            first, last = max(s.start, reach), min(s.start + blurred.shape[len(inside)], length + reach)
            inside.append(slice(first - reach, last - reach))
            piece.append(slice(first - s.start, last - s.start))
        own, here = blurred[tuple(piece)], best[tuple(inside)]
        better = own > here
        here[better] = own[better]
        winner[tuple(inside)][better] = number
    return winner


def ripening(
    seed: int, side: int, particles: int, frames: int, radius: float = 6.0, growth: float = 2.0
) -> GrowthSeries:
    """Ripen particles in a matrix by diffusion: n = 3.

    Each radius follows dR/dt = (1/R*)·(1/R) − 1/R², where R* is the mean radius (Lifshitz & Slyozov 1961; Wagner 1961).
    The radii start from the stationary distribution of the theory and change until their mean is `growth` times as
    large. Time is in units in which R*³ grows by 4/9 a second. Centres do not move. Particles that would touch are left
    out from the beginning.
    """
    rng = np.random.default_rng(seed)
    radii = radius * _stationary(particles, rng)
    total = (growth**3 - 1) * radii.mean() ** 3 * 9 / 4
    wanted = np.linspace(0, total, frames)
    history, now, k = [radii.copy()], 0.0, 1
    while k < frames:
        alive = radii > 0
        mean = radii[alive].mean()
        step = min(0.02 * mean**3, wanted[k] - now)
        cube = radii[alive] ** 3 + 3 * step * (radii[alive] / mean - 1)
        radii[alive] = np.cbrt(np.maximum(cube, 0))
        now += step
        if now >= wanted[k] * (1 - 1e-12):
            history.append(radii.copy())
            k += 1
    sizes = np.array(history)
    middles = _apart(sizes.max(axis=0), side, rng)
    return GrowthSeries(np.array([_discs(side, middles, frame) for frame in sizes]), wanted)


def _stationary(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw R / R* from the distribution that ripening tends to, which ends at 3/2."""
    z = np.linspace(1e-3, 1.5 - 1e-3, 4000)
    density = z**2 * (3 / (3 + z)) ** (7 / 3) * (1.5 / (1.5 - z)) ** (11 / 3) * np.exp(-z / (1.5 - z))
    share = np.cumsum(density)
    return np.interp(rng.uniform(0, share[-1], count), share, z)


def _apart(radii: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Place discs that never touch each other or the edge: centres (n, 2), px; NaN for discs without room."""
    middles = np.full((len(radii), 2), np.nan)
    for k in np.argsort(-radii):
        room = radii[k] + 2
        for _ in range(200):
            place = rng.uniform(room, side - room, 2)
            free = np.linalg.norm(middles - place, axis=1) > radii + room
            if (free | np.isnan(middles[:, 0])).all():
                middles[k] = place
                break
    return middles


def _discs(side: int, middles: np.ndarray, radii: np.ndarray) -> np.ndarray:
    labels = np.zeros((side, side), np.int32)
    for number, ((cy, cx), r) in enumerate(zip(middles, radii, strict=True), start=1):
        if np.isnan(cy) or r < 1:
            continue
        top, left = int(cy - r), int(cx - r)
        y, x = np.mgrid[top : int(cy + r) + 2, left : int(cx + r) + 2]
        labels[top : int(cy + r) + 2, left : int(cx + r) + 2][(y + 0.5 - cy) ** 2 + (x + 0.5 - cx) ** 2 <= r * r] = (
            number
        )
    return labels


def pictures(
    growth: GrowthSeries, seed: int, drift: tuple[float, float] = (0.0, 0.0), noise: float = 6.0
) -> np.ndarray:
    """Show the frames as a microscope might, uint8 (frames, H, W, 3). Each crystal keeps its shade of gray; the lines
    between crystals and the ground are dark. `drift`: px (dy, dx) per frame, in whole pixels."""
    rng = np.random.default_rng(seed)
    shades = np.concatenate(([35.0], rng.uniform(110, 220, growth.labels.max())))
    shown = []
    for k, labels in enumerate(growth.labels):
        gray = shades[labels].astype(np.float32)
        gray[find_boundaries(labels, mode="inner") & (labels > 0)] = 55
        gray = cv2.GaussianBlur(gray, (0, 0), 0.8)
        gray = np.roll(gray, [round(k * by) for by in drift], (0, 1)) + rng.normal(0, noise, gray.shape)
        shown.append(np.repeat(gray.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))
    return np.array(shown)
