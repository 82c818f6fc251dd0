"""One micrograph: its pixels, its source, and the size of a pixel."""

from dataclasses import dataclass, replace

import numpy as np

from crystalseg.errors import UserError
from crystalseg.micrographs.calibration import Calibration

SMALLEST_SIDE = 32


class MicrographError(UserError):
    """An image that cannot be used. The message is one sentence for the user."""


@dataclass(frozen=True)
class Micrograph:
    """An image that can be measured. pixels: uint8 (H, W, 3) RGB. calibration: pixel size and its source, or None.
    name: name of the file. sha256: hash of the uploaded bytes. notes: what the user should know about how the file was
    read. region: (top, left, bottom, right), px, the part of the file's image that `pixels` shows. channel: which of
    the file's `channels` it is, 1, 2, …."""

    pixels: np.ndarray
    name: str
    sha256: str
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
    region: tuple[int, int, int, int] | None = None
    channel: int = 1
    channels: int = 1

    @property
    def um_per_px(self) -> float | None:
        return self.calibration.um_per_px if self.calibration else None

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def crop(self, top: int, left: int, bottom: int, right: int) -> "Micrograph":
        """Return the rectangle of rows top..bottom and columns left..right, ends excluded. Raises MicrographError if it
        is unusable."""
        h, w = self.shape
        if not (0 <= top < bottom <= h and 0 <= left < right <= w):
            raise MicrographError(f"{self.name}: the region lies outside the image of {w} × {h} px.")
        check_sides(self.name, bottom - top, right - left, "The region")
        pixels = np.ascontiguousarray(self.pixels[top:bottom, left:right])
        y, x = (self.region or (0, 0))[:2]
        return replace(self, pixels=pixels, region=(top + y, left + x, bottom + y, right + x))


def check_sides(name: str, height: int, width: int, what: str = "The image") -> None:
    if height < 1 or width < 1:
        raise MicrographError(f"{name}: {what.lower()} has no pixels.")
    if min(height, width) < SMALLEST_SIDE:
        raise MicrographError(f"{name}: {what.lower()} is {width} × {height} px; both sides must be at least 32 px.")
