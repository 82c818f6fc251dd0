"""Represent one image of a sample as the figures see it: its labels, its crystals and its size."""

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np
import pandas as pd

from crystalseg.measurement.boundaries import CONVENTION, with_boundaries
from crystalseg.measurement.grain_size import Planimetric, planimetric
from crystalseg.measurement.intercept import Intercepts, Pattern, intercepts


@dataclass(eq=False)
class Field:
    """One image of a sample.

    `labels` is an integer array (H, W), 0 = background, or None once the field has dropped it. `crystals` is the
    crystals table, and `um_per_px` is the pixel size or None. `convention` is the measuring convention, the same as
    that of the table (`boundaries.CONVENTION`).
    """

    labels: np.ndarray | None
    crystals: pd.DataFrame
    um_per_px: float | None
    name: str = ""
    convention: int = CONVENTION

    def let_go(self) -> None:
        """Count everything that needs the labels, then drop them.

        A sample may have more fields than fit into memory.
        """
        for pattern in get_args(Pattern):
            self.intercepts(pattern)
        _ = self.shape, self.planimetric, self.is_filled
        del self._measured
        self.labels = None

    @cached_property
    def shape(self) -> tuple[int, int]:
        height, width = self.kept_labels.shape
        return height, width

    @property
    def kept_labels(self) -> np.ndarray:
        """Return the labels. Raise LookupError if the field has dropped them."""
        if self.labels is None:
            raise LookupError(f"{self.name}: the labels of this field are no longer in memory.")
        return self.labels

    @cached_property
    def _measured(self) -> tuple[np.ndarray, bool]:
        labels = self.kept_labels
        measured = with_boundaries(labels, self.convention)
        fills = measured is not labels or bool(labels.all())
        other = self.crystals.loc[self.crystals["kind"] != "crystal", "id"].to_numpy()
        return np.where(np.isin(measured, other), 0, measured) if len(other) else measured, fills

    @property
    def crystal_labels(self) -> np.ndarray:
        """Return the labels without anything marked as a pore or an artefact.

        Where the grains fill the area, the labels include the boundaries.
        """
        return self._measured[0]

    @cached_property
    def is_filled(self) -> bool:
        """Return whether the grains fill the area, so that each neighbour of a boundary owns half of it."""
        return self._measured[1]

    @property
    def area(self) -> float:
        """Return the area of the field, mm² if the field has a pixel size, else px²."""
        return math.prod(self.shape) * (self.um_per_px / 1000 if self.um_per_px else 1.0) ** 2

    @cached_property
    def planimetric(self) -> Planimetric:
        """Count the crystals inside the field, cut by its edges and at its corners, once only."""
        return planimetric(self.crystal_labels)

    def places_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Return the centroids of crystals, int (n,), as x and y in px, (n,) each, and the shape of the field."""
        own = self.crystals["id"].to_numpy()
        order = np.argsort(own)
        rows = order[np.searchsorted(own[order], ids)]
        x, y = (self.crystals[f"centroid_{axis}_px"].to_numpy(float)[rows] for axis in "xy")
        return x, y, self.shape

    def intercepts(self, pattern: Pattern) -> Intercepts:
        """Count the crystals along the test lines or circles of the field, once only per pattern."""
        kept = self.__dict__.setdefault("_intercepts", {})
        if pattern not in kept:
            kept[pattern] = intercepts(self.crystal_labels, pattern)
        return kept[pattern]


def in_one_unit(fields: Sequence[Field]) -> Sequence[Field]:
    """Return the fields, all in px if one of them has no pixel size."""
    if all(field.um_per_px for field in fields):
        return fields
    return [_in_px(field) for field in fields]


def _in_px(field: Field) -> Field:
    in_px = copy(field)  # keeps the counts made so far
    in_px.crystals = field.crystals.drop(columns=[c for c in field.crystals if c.endswith(("_um", "_um2"))])
    in_px.um_per_px = None
    return in_px
