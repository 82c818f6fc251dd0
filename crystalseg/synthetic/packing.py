"""The geometry behind synthetic micrographs: random packing, Laguerre tessellation, painted particles, smooth noise."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numba import njit

Kind = Literal[
    "polycrystal",
    "grain",
    "single",
    "cluster",
    "powder",
    "pebbles",
    "precipitates",
    "columnar",
    "faceted",
    "laths",
    "dendrites",
    "agglomerates",
]
POLYCRYSTALS = ("polycrystal", "grain", "single", "cluster", "columnar")
ON_GROUND = ("grain", "single", "cluster")  # polycrystals that do not fill the image
GROWN = ("faceted", "laths", "dendrites")  # particles with a shape of their own


@dataclass(frozen=True)
class Geometry:
    """Where each pixel lies. owner: int32 (H, W), the crystal, 0 = matrix. gap: float32, distance to the nearest edge
    of another crystal, px. edge: float32, from 0 at a particle's centre to 1 at its edge. slope: float32 (2, H, W), the
    place on the particle (dy, dx). tone: float32 (H, W), -1 to 1, differences of brightness within a crystal, as twins,
    lamellae and facets make them."""

    owner: np.ndarray
    count: int
    gap: np.ndarray | None = None
    edge: np.ndarray | None = None
    slope: np.ndarray | None = None
    tone: np.ndarray | None = None


@njit(cache=True, nogil=True)
def pack(radii: np.ndarray, ys: np.ndarray, xs: np.ndarray, tolerance: float) -> np.ndarray:
    """Pack discs at random and in sequence, the largest first: (n, 3) of y, x, r. `ys`, `xs`, (n, tries), are the
    places to try."""
    placed = np.empty((len(radii), 3))
    n = 0
    for i in range(len(radii)):
        for t in range(ys.shape[1]):
            y, x = ys[i, t], xs[i, t]
            free = True
            for j in range(n):
                reach = tolerance * (placed[j, 2] + radii[i])
                if (placed[j, 0] - y) ** 2 + (placed[j, 1] - x) ** 2 < reach * reach:
                    free = False
                    break
            if free:
                placed[n] = (y, x, radii[i])
                n += 1
                break
    return placed[:n]


@njit(cache=True, nogil=True)
def laguerre(sites: np.ndarray, h: int, w: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the power diagram of `sites`, (n, 3) of y, x, r, on an h × w grid.

    Returns owner int32 (1..n) and the distance to the nearest cell wall, float32, exact below `margin`. Seeds that
    cannot matter inside a block of 16 × 16 are left out: the power difference of two seeds is linear in space.
    """
    side = 16
    n = len(sites)
    owner = np.empty((h, w), np.int32)
    gap = np.empty((h, w), np.float32)
    near = np.empty(n, np.int32)
    power = np.empty(n)
    for top in range(0, h, side):
        for left in range(0, w, side):
            cy, cx = top + side / 2, left + side / 2
            best = 0
            for k in range(n):
                power[k] = (sites[k, 0] - cy) ** 2 + (sites[k, 1] - cx) ** 2 - sites[k, 2] ** 2
                if power[k] < power[best]:
                    best = k
            count = 0
            reach = side * 0.75 + margin
            for k in range(n):
                apart = np.hypot(sites[k, 0] - sites[best, 0], sites[k, 1] - sites[best, 1])
                if power[k] - power[best] <= 2 * apart * reach:
                    near[count] = k
                    count += 1
            for i in range(top, min(top + side, h)):
                for j in range(left, min(left + side, w)):
                    win = near[0]
                    least = 1e30
                    for c in range(count):
                        k = near[c]
                        p = (sites[k, 0] - i) ** 2 + (sites[k, 1] - j) ** 2 - sites[k, 2] ** 2
                        power[c] = p
                        if p < least:
                            least, win = p, k
                    wall = margin
                    for c in range(count):
                        k = near[c]
                        if k != win:
                            apart = np.hypot(sites[k, 0] - sites[win, 0], sites[k, 1] - sites[win, 1])
                            wall = min(wall, (power[c] - least) / (2 * apart + 1e-9))
                    owner[i, j] = win + 1
                    gap[i, j] = wall
    return owner, gap


@njit(cache=True, nogil=True)
def _reach(dy: float, dx: float, outline: np.ndarray, long: float, short: float, cos: float, sin: float) -> float:
    """Return where a point (dy, dx) from a particle's centre lies: below 1 inside its outline, above 1 outside."""
    u = (cos * dx + sin * dy) / long
    v = (cos * dy - sin * dx) / short
    rho = np.sqrt(u * u + v * v)
    if rho > 1.5:
        return rho
    angles = len(outline)
    place = (np.arctan2(v, u) / (2 * np.pi) + 0.5) * angles
    a = int(place)
    part = place - a
    return rho / (outline[a % angles] * (1 - part) + outline[(a + 1) % angles] * part)


@njit(cache=True, nogil=True)
def paint(
    h: int,
    w: int,
    sites: np.ndarray,
    outlines: np.ndarray,
    stretch: np.ndarray,
    turn: np.ndarray,
    overlap: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Paint particles over one another. Returns owner int32, edge float32 and slope float32 (2, h, w); see `Geometry`.

    `outlines` (n, angles): radius by angle from -π, as a share of the site's radius. A particle is left out if more
    than the share `overlap` of it would lie over others.
    """
    owner = np.zeros((h, w), np.int32)
    edge = np.zeros((h, w), np.float32)
    slope = np.zeros((2, h, w), np.float32)
    for k in range(len(sites)):
        cy, cx, r = sites[k]
        reach = r * stretch[k] * 1.5 + 2
        cos, sin = np.cos(turn[k]), np.sin(turn[k])
        rows = range(max(0, int(cy - reach)), min(h, int(cy + reach) + 1))
        columns = range(max(0, int(cx - reach)), min(w, int(cx + reach) + 1))
        long, short = r * stretch[k], r / stretch[k]
        if overlap < 1:
            own, shared = 0, 0
            for i in rows:
                for j in columns:
                    if _reach(i - cy, j - cx, outlines[k], long, short, cos, sin) <= 1:
                        own += 1
                        shared += owner[i, j] > 0
            if shared > overlap * own:
                continue
        for i in rows:
            for j in columns:
                rho = _reach(i - cy, j - cx, outlines[k], long, short, cos, sin)
                if rho <= 1:
                    owner[i, j] = k + 1
                    edge[i, j] = rho
                    slope[0, i, j] = (i - cy) / r
                    slope[1, i, j] = (j - cx) / r
    return owner, edge, slope


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Return noise of about unit variance with features about `scale` px wide: float32 (H, W)."""
    coarse = tuple(int(np.ceil(s / scale)) + 3 for s in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    if scale <= 1:
        return noise[: shape[0], : shape[1]]
    size = (int(coarse[1] * scale), int(coarse[0] * scale))
    return cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)[: shape[0], : shape[1]] * 1.3
