"""Measure how far a frame's content moved since the frame before, for example because a hot stage creeps."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.registration import phase_cross_correlation

LARGEST = 1024  # px, the longer side at which frames are compared; larger frames are shrunk
STEPS = 10  # search steps per pixel of the shrunk frame
SIGMA = 2.0  # px of the shrunk frame; smoothing, so that slopes show a shift of this size
ROUNDS = 12
CLOSE = 0.005  # px of the shrunk frame; a smaller step is no improvement
BLOCKS = 4  # blocks per side; each block is left out once to find the uncertainty


@dataclass(frozen=True)
class Drift:
    """The drift of a frame. shift: (dy, dx), px. uncertainty: standard uncertainty of each, (2,), px; infinite where
    nothing can be followed."""

    shift: np.ndarray
    uncertainty: np.ndarray


def drift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return only the shift of `find_drift`: (dy, dx), px."""
    return find_drift(before, after).shift


def find_drift(before: np.ndarray, after: np.ndarray) -> Drift:
    """Find the shift of `after` against `before`, images uint8 (H, W, 3) of equal size, without taking growth for
    motion.

    Correlation gives the start (Guizar-Sicairos et al. 2008, Optics Letters 33, 156), but it follows crystals that grow
    more on one side. Least squares on slopes refines it (Lucas & Kanade 1981, Proc. IJCAI, 674), with one more unknown
    beside the shift: how far all edges move along their own normal. The normals around a crystal that grows in place
    add up to zero. The uncertainty is a jackknife over BLOCKS × BLOCKS parts of the image.
    """
    share = min(1.0, LARGEST / max(before.shape[:2]))
    one, other = (_gray(pixels, share) for pixels in (before, after))
    faded = [_faded(gray) for gray in (one, other)]
    if not all(gray.any() for gray in faded):
        return Drift(np.zeros(2), np.full(2, np.inf))
    first, _, _ = phase_cross_correlation(*faded, upsample_factor=STEPS, normalization=None)
    one, other = (cv2.GaussianBlur(gray, (0, 0), SIGMA) for gray in (one, other))
    shift = -np.asarray(first, float)
    limit = np.array(one.shape) / 2
    spread = np.full(2, np.inf)
    for _ in range(ROUNDS):
        sums = _sums(one, other, shift)
        step = _solved(sums.sum(axis=0))
        if step is None or (np.abs(shift + step) > limit).any():
            break
        shift = shift + step
        without = [found for part in sums if (found := _solved(sums.sum(axis=0) - part)) is not None]
        n = len(without)
        if n == len(sums):
            spread = np.sqrt((n - 1) / n * np.square(np.array(without) - np.mean(without, axis=0)).sum(axis=0))
        if np.abs(step).max() < CLOSE:
            break
    return Drift(shift / share, spread / share)


def _gray(pixels: np.ndarray, share: float) -> np.ndarray:
    gray: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return gray if share == 1 else cv2.resize(gray, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def _faded(gray: np.ndarray) -> np.ndarray:
    """Remove slow changes of brightness and fade the image to its edges, because neither moves with the content."""
    fade = [np.hanning(length + 2)[1:-1] for length in gray.shape]
    return (gray - cv2.GaussianBlur(gray, (0, 0), max(gray.shape) / 8)) * np.outer(*fade).astype(np.float32)


def _sums(one: np.ndarray, other: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the normal equations of each block, float64 (blocks, 3, 4), for (dy, dx, growth) beyond `shift`."""
    height, width = one.shape
    move = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(other, move, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    down, right = np.gradient((one + moved) / 2)
    columns = np.stack((down, right, np.hypot(down, right), one - moved), axis=-1)
    edges = [int(abs(by)) + int(2 * SIGMA) for by in shift]  # what entered or left the frame
    inner = columns[edges[0] : height - edges[0], edges[1] : width - edges[1]]
    parts = [part for rows in np.array_split(inner, BLOCKS) for part in np.array_split(rows, BLOCKS, axis=1)]
    flat = [part.reshape(-1, 4).astype(np.float64) for part in parts]
    return np.array([part[:, :3].T @ part for part in flat])


def _solved(sums: np.ndarray) -> np.ndarray | None:
    """Solve normal equations (3, 4) for (dy, dx). Return None if they do not determine it, as where there is no
    edge."""
    try:
        if np.linalg.cond(sums[:, :3]) > 1e8:
            return None
        return np.linalg.solve(sums[:, :3], sums[:, 3])[:2]
    except np.linalg.LinAlgError:
        return None
