"""One image of a sample, as the figures see it: its labels, its crystals, its size."""

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
    """One image of a sample. labels: integer (H, W), 0 = background, or None once they are let go of; crystals: its
    table; um_per_px or None; convention: of measuring, as of the table (`boundaries.CONVENTION`)."""

    labels: np.ndarray | None
    crystals: pd.DataFrame
    um_per_px: float | None
    name: str = ""
    convention: int = CONVENTION

    def let_go(self) -> None:
        """Count all that needs the labels, then drop them: a sample may have more fields than fit into memory."""
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
        """The labels; LookupError once they are let go of."""
        if self.labels is None:
            raise LookupError(f"{self.name}: the labels of this field are not held any more.")
        return self.labels

    @cached_property
    def _measured(self) -> tuple[np.ndarray, bool]:
        labels = self.kept_labels
        measured = with_boundaries(labels) if self.convention > 1 else labels
        fills = measured is not labels or bool(labels.all())
        other = self.crystals.loc[self.crystals["kind"] != "crystal", "id"].to_numpy()
        return np.where(np.isin(measured, other), 0, measured) if len(other) else measured, fills

    @property
    def crystal_labels(self) -> np.ndarray:
        """The labels, with the boundaries of grains that fill the area, without what is marked as pore or artefact."""
        return self._measured[0]

    @cached_property
    def is_filled(self) -> bool:
        """Whether the grains fill the area, so that half of each boundary belongs to either of its neighbours."""
        return self._measured[1]

    @property
    def area(self) -> float:
        """Of the field, mm² or px²."""
        return math.prod(self.shape) * (self.um_per_px / 1000 if self.um_per_px else 1.0) ** 2

    @cached_property
    def planimetric(self) -> Planimetric:
        """The field's crystals inside, cut and at corners; counted once."""
        return planimetric(self.crystal_labels)

    def places_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        """Where crystals, int (n,), have their centroids, x and y in px, (n,) each, and the field's shape."""
        own = self.crystals["id"].to_numpy()
        order = np.argsort(own)
        rows = order[np.searchsorted(own[order], ids)]
        x, y = (self.crystals[f"centroid_{axis}_px"].to_numpy(float)[rows] for axis in "xy")
        return x, y, self.shape

    def intercepts(self, pattern: Pattern) -> Intercepts:
        """The field's test lines or circles; counted once."""
        kept = self.__dict__.setdefault("_intercepts", {})
        if pattern not in kept:
            kept[pattern] = intercepts(self.crystal_labels, pattern)
        return kept[pattern]


def in_one_unit(fields: Sequence[Field]) -> Sequence[Field]:
    """The fields, all in px if one of them has no pixel size."""
    if all(field.um_per_px for field in fields):
        return fields
    return [_in_px(field) for field in fields]


def _in_px(field: Field) -> Field:
    in_px = copy(field)  # with what it has counted
    in_px.crystals = field.crystals.drop(columns=[c for c in field.crystals if c.endswith(("_um", "_um2"))])
    in_px.um_per_px = None
    return in_px
