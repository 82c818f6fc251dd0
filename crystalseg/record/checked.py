"""Areas of a run's image that a person has checked. Each is put on record when it is drawn."""

from collections.abc import Sequence

import cv2
import numpy as np
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import ledger

Polygon = Sequence[tuple[float, float]]


def check(engine: Engine, job: str, polygon: Polygon, who: str = "") -> None:
    """Record a checked area by its corners (y, x), in px of the measured image. Raises UserError for fewer than three
    corners."""
    if len(polygon) < 3:
        raise UserError("Drag around an area. A line encloses nothing.")
    corners = [[round(float(y), 1), round(float(x), 1)] for y, x in polygon]
    ledger.append(engine, "checked", job, {"polygon": corners}, who)


def clear(engine: Engine, job: str, who: str = "") -> None:
    """Clear all checked areas of a job. Earlier areas stay in the record."""
    ledger.append(engine, "checked", job, {"polygon": []}, who)


def polygons(engine: Engine, job: str) -> list[Polygon]:
    """Return the areas drawn since they were last cleared."""
    found: list[Polygon] = []
    for entry in ledger.entries(engine, "checked", job):
        corners = [(y, x) for y, x in entry.body["polygon"]]
        found = [*found, corners] if corners else []
    return found


def mask(polygons: Sequence[Polygon], shape: tuple[int, int]) -> np.ndarray:
    """Return the areas as a bool mask (H, W)."""
    drawn = np.zeros(shape, np.uint8)
    for polygon in polygons:
        # Fill one at a time: a single fillPoly call would leave a hole where two overlap.
        cv2.fillPoly(drawn, [np.array([(x, y) for y, x in polygon]).round().astype(np.int32)], 1)
    return drawn > 0
