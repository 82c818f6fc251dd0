"""Individuals and moving-range control charts with the Western Electric rules (ISO 7870-2; Statistical Quality Control
Handbook, Western Electric 1956)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crystalseg.errors import UserError

D2 = 1.128  # expected range of two normal values, in standard deviations
D4 = 3.267  # upper limit of the moving range, in mean ranges
RULES = (
    "one point beyond 3σ",
    "two of three points in a row beyond 2σ on one side",
    "four of five points in a row beyond 1σ on one side",
    "eight points in a row on one side",
)


@dataclass(frozen=True)
class ControlChart:
    """values (n,) in order; ranges (n − 1,) between neighbours; centre; sigma = mean range / 1.128; range_limit = 3.267
    × mean range; signals: for each value, the numbers (1 to 4) of the RULES it completes."""

    values: np.ndarray
    ranges: np.ndarray
    centre: float
    sigma: float
    range_limit: float
    signals: tuple[tuple[int, ...], ...]

    @property
    def limits(self) -> tuple[float, float]:
        return self.centre - 3 * self.sigma, self.centre + 3 * self.sigma


def control_chart(values: Sequence[float]) -> ControlChart:
    """Chart of single values in their order, at least two; limits from the values themselves."""
    x = np.asarray(values, float)
    if len(x) < 2 or not np.isfinite(x).all():
        raise UserError("A control chart needs two or more figures.")
    ranges = np.abs(np.diff(x))
    centre, sigma = float(x.mean()), float(ranges.mean() / D2)
    z = (x - centre) / sigma if sigma > 0 else np.zeros(len(x))
    return ControlChart(x, ranges, centre, sigma, D4 * float(ranges.mean()), tuple(_signals(z)))


def _signals(z: np.ndarray) -> list[tuple[int, ...]]:
    # rule, window, how many of it, beyond how many standard deviations
    rules = ((1, 1, 1, 3.0), (2, 3, 2, 2.0), (3, 5, 4, 1.0), (4, 8, 8, 0.0))
    broken = []
    for k, value in enumerate(z):
        side = np.sign(value)
        broken.append(
            tuple(
                rule
                for rule, window, many, beyond in rules
                # the point itself must take part: it completes the pattern
                if side * value > beyond and np.count_nonzero(side * z[max(0, k + 1 - window) : k + 1] > beyond) >= many
            )
        )
    return broken
