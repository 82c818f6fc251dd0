"""Suggest what to label next: the fields whose labels would teach most.

Fields are chosen by uncertainty and diversity (active learning: Settles 2009, Active Learning Literature Survey,
sections 3.1 and 5.1; k-center: Sener & Savarese 2018, arXiv 1708.00489).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from crystalseg.measurement.crystals import measure_crystals

CRYSTALS = 20  # approximate number per field
LOOKING, CLICKING, CLICKS = 3.0, 4.0, 5.0  # estimates: s to look at a crystal, s per click, clicks to correct a crystal
NOVELTY = 0.5  # weight of the difference from labelled images, relative to doubt


@dataclass(frozen=True)
class Seen:
    """An available image. key: its identifier; pixels: uint8 (H, W, 3); labels: int32 (H, W) found by a method;
    confidence: float (n,), 0..1."""

    key: str
    pixels: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray


@dataclass(frozen=True)
class FieldOffer:
    """A part of an image to label. box: top, left, bottom, right, px; crystals: number found in it; wrong: expected
    number of wrong ones; novelty: difference from labelled images, 0..1; score: the value by which it was chosen."""

    key: str
    box: tuple[int, int, int, int]
    crystals: int
    wrong: float
    novelty: float
    score: float

    @property
    def minutes(self) -> float:
        """Estimated time that a person needs to label it, minutes."""
        return (LOOKING * self.crystals + CLICKING * CLICKS * self.wrong) / 60


@dataclass(frozen=True)
class _Field:
    key: str
    box: tuple[int, int, int, int]
    crystals: int
    wrong: float
    picture: np.ndarray  # float (4,): its appearance


def offers(images: Sequence[Seen], labelled: Sequence[np.ndarray] = (), most: int = 6) -> list[FieldOffer]:
    """Return the best fields of the images, best first, without overlap. labelled: pixels, uint8 (h, w, 3), of areas
    that are already labelled and checked."""
    fields = [field for image in images for field in _fields(image)]
    if not fields:
        return []
    pictures = np.array([field.picture for field in fields])
    known = [_picture(pixels) for pixels in labelled]
    middle, spread = pictures.mean(axis=0), pictures.std(axis=0) + 1e-6
    places = (pictures - middle) / spread
    taught = [(picture - middle) / spread for picture in known]
    doubt = np.array([field.wrong / field.crystals for field in fields])
    chosen: list[FieldOffer] = []
    open_ = np.ones(len(fields), bool)
    while open_.any() and len(chosen) < most:
        distances = [np.linalg.norm(places - place, axis=1) for place in taught]
        away = np.min(distances, axis=0) if distances else np.zeros(len(fields))
        novelty = away / (away + 2)
        score = np.where(open_, doubt + NOVELTY * novelty, -np.inf)
        best = int(score.argmax())
        field = fields[best]
        chosen.append(
            FieldOffer(field.key, field.box, field.crystals, field.wrong, float(novelty[best]), float(score[best]))
        )
        taught.append(places[best])
        open_ &= np.array([f.key != field.key or not _overlap(f.box, field.box) for f in fields])
    return chosen


def _fields(image: Seen) -> list[_Field]:
    """Return squares of about CRYSTALS crystals, half a side apart."""
    crystals = measure_crystals(image.labels, None, image.confidence)
    if crystals.empty:
        return []
    height, width = image.labels.shape
    side = int(np.clip(np.sqrt(CRYSTALS * height * width / len(crystals)), 48, min(height, width)))
    y, x = crystals["centroid_y_px"].to_numpy(), crystals["centroid_x_px"].to_numpy()
    doubt = 1 - crystals["confidence"].to_numpy()
    found = []
    for top in _starts(height, side):
        for left in _starts(width, side):
            here = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
            if here.sum() >= 3:
                box = (top, left, top + side, left + side)
                picture = _picture(image.pixels[top : top + side, left : left + side])
                found.append(_Field(image.key, box, int(here.sum()), float(doubt[here].sum()), picture))
    return found


def _starts(length: int, side: int) -> list[int]:
    """Return where squares begin: half a side apart, the last one at the end."""
    return [*range(0, max(1, length - side), max(1, side // 2)), length - side] if length > side else [0]


def _picture(pixels: np.ndarray) -> np.ndarray:
    """Return the appearance of a field: brightness, contrast, and fineness at two scales."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    fine = gray - cv2.GaussianBlur(gray, (0, 0), 1.5)
    coarse = cv2.GaussianBlur(gray, (0, 0), 1.5) - cv2.GaussianBlur(gray, (0, 0), 6)
    return np.array([gray.mean(), gray.std(), fine.std(), coarse.std()])


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
