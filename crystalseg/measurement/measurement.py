"""Labels measured: the crystals table and its summary."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from crystalseg.measurement.boundaries import CONVENTION
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import Summary, summarise
from crystalseg.measurement.query import leave_out


@dataclass(frozen=True)
class Measurement:
    """crystals: the table of `measure_crystals`; summary: of those that count, None if none does."""

    crystals: pd.DataFrame
    summary: Summary | None


def measure(
    labels: np.ndarray,
    um_per_px: float | None,
    rule: str,
    confidence: np.ndarray | None = None,
    marks: Mapping[int, str] | None = None,
    only: str = "",
    pixels: np.ndarray | None = None,
    convention: int = CONVENTION,
) -> Measurement:
    """Measure all crystals of labels, integer (H, W), and sum up those that `only` selects with the border rule `rule`;
    `only` and `pixels` as for `leave_out`, the other parameters as for `measure_crystals`.

    >>> import numpy as np
    >>> from crystalseg import measure
    >>> labels = np.zeros((100, 100), int)
    >>> labels[10:30, 10:30], labels[60:80, 50:60] = 1, 2
    >>> result = measure(labels, 0.5, "exclude")  # 0.5 µm a pixel
    >>> result.crystals["area_um2"].tolist()
    [100.0, 50.0]
    >>> result.summary.counted, result.summary.unit
    (2, 'µm')
    """
    return sum_up(measure_crystals(labels, um_per_px, confidence, marks, convention), labels, rule, only, pixels)


def sum_up(
    table: pd.DataFrame, labels: np.ndarray, rule: str, only: str = "", pixels: np.ndarray | None = None
) -> Measurement:
    """As `measure`, of labels whose `measure_crystals` table is there already."""
    crystals = leave_out(table, only, labels, pixels)
    return Measurement(crystals, summarise(crystals, labels.shape, rule))
