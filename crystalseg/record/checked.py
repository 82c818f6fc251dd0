"""Areas of a run's image that a person has checked, on record as they are drawn."""

from collections.abc import Sequence

import cv2
import numpy as np
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import ledger

Polygon = Sequence[tuple[float, float]]


def check(engine: Engine, job: str, polygon: Polygon, who: str = "") -> None:
    """Note an area, corners (y, x), px of the measured image; UserError if it is none."""
    if len(polygon) < 3:
        raise UserError("Drag round an area: a line has no inside.")
    corners = [[round(float(y), 1), round(float(x), 1)] for y, x in polygon]
    ledger.append(engine, "checked", job, {"polygon": corners}, who)


def clear(engine: Engine, job: str, who: str = "") -> None:
    """No area is checked any longer; what was stays in the record."""
    ledger.append(engine, "checked", job, {"polygon": []}, who)


def polygons(engine: Engine, job: str) -> list[Polygon]:
    """The areas that were drawn since they were cleared last."""
    found: list[Polygon] = []
    for entry in ledger.entries(engine, "checked", job):
        corners = [(y, x) for y, x in entry.body["polygon"]]
        found = [*found, corners] if corners else []
    return found


def mask(polygons: Sequence[Polygon], shape: tuple[int, int]) -> np.ndarray:
    """The areas as bool (H, W)."""
    drawn = np.zeros(shape, np.uint8)
    for polygon in polygons:
        # one at a time: where two overlap, fillPoly of both would leave a hole
        cv2.fillPoly(drawn, [np.array([(x, y) for y, x in polygon]).round().astype(np.int32)], 1)
    return drawn > 0
