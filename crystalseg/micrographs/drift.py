"""How far the content of a frame lies from that of the one before, as where a hot stage creeps."""

import cv2
import numpy as np
from skimage.registration import phase_cross_correlation

LARGEST = 1024  # px, longer side at which frames are compared; larger ones are shrunk
STEPS = 10  # a pixel there


def drift(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The shift (dy, dx), px, of `after` against `before`, images uint8 (H, W, 3) of one size, by correlation
    (Guizar-Sicairos et al. 2008, Optics Letters 33, 156)."""
    share = min(1.0, LARGEST / max(before.shape[:2]))
    one, other = (_seen(pixels, share) for pixels in (before, after))
    shift, _, _ = phase_cross_correlation(one, other, upsample_factor=STEPS, normalization=None)
    return -np.asarray(shift, float) / share


def _seen(pixels: np.ndarray, share: float) -> np.ndarray:
    """The image in gray, smaller, without its slow shades and fading to its edges, which would not move with it."""
    gray: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    if share < 1:
        gray = cv2.resize(gray, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    gray -= cv2.GaussianBlur(gray, (0, 0), max(gray.shape) / 8)
    fade = [np.hanning(length + 2)[1:-1] for length in gray.shape]
    return gray * np.outer(*fade).astype(np.float32)
