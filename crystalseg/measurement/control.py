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
    "moving range above its limit",
)
PHASE_ONE = 20  # points from which limits are taken, if there are more: the usual least of 20 to 25
CORRELATED = (
    1.96  # times 1/√n that a correlation of neighbours of chance alone exceeds in 5 % of charts (Bartlett 1946)
)


@dataclass(frozen=True)
class ControlChart:
    """values (n,) in order; ranges (n − 1,) between neighbours; centre; sigma = mean range / 1.128; range_limit = 3.267
    × mean range; signals: for each value, the numbers (1 to 5) of the RULES it completes; base: how many of the values,
    the first, the limits are from (phase I); correlation: of neighbours, NaN if it cannot be told."""

    values: np.ndarray
    ranges: np.ndarray
    centre: float
    sigma: float
    range_limit: float
    signals: tuple[tuple[int, ...], ...]
    base: int
    correlation: float

    @property
    def notes(self) -> list[str]:
        """What must be said beside the chart."""
        said = []
        if self.base == len(self.values):
            said.append(
                f"The limits come from the {self.base} points that they judge (phase I): signals among them tell what "
                f"to look into, not that the process left its limits. From {PHASE_ONE + 1} points on, the first "
                f"{PHASE_ONE} set the limits of those that follow."
            )
        else:
            said.append(f"The limits come from the first {self.base} points (phase I) and judge all that follow.")
        if self.correlation > CORRELATED / np.sqrt(len(self.values)):
            said.append(
                f"Neighbouring points are alike (correlation {self.correlation:.2f}): the moving range makes limits "
                "too narrow then, and points are signalled that are in control. Chart them further apart, or the means "
                "of groups."
            )
        return said

    @property
    def limits(self) -> tuple[float, float]:
        return self.centre - 3 * self.sigma, self.centre + 3 * self.sigma


def control_chart(values: Sequence[float], base: int | None = None) -> ControlChart:
    """Chart of single values in their order, at least two; limits from the first `base` of them (phase I): if that is
    not given, from the first PHASE_ONE, or all if there are no more."""
    x = np.asarray(values, float)
    if len(x) < 2 or not np.isfinite(x).all():
        raise UserError("A control chart needs two or more figures.")
    base = min(len(x), base or PHASE_ONE)
    if base < 2:
        raise UserError("The limits of a control chart need two or more figures.")
    ranges = np.abs(np.diff(x))
    mean_range = float(ranges[: base - 1].mean())
    centre, sigma = float(x[:base].mean()), mean_range / D2
    z = (x - centre) / sigma if sigma > 0 else np.zeros(len(x))
    limit = D4 * mean_range
    wide = [False, *(ranges > limit)]
    signals = tuple((*broken, *((5,) if far else ())) for broken, far in zip(_signals(z), wide, strict=True))
    return ControlChart(x, ranges, centre, sigma, limit, signals, base, _correlation(x))


def _correlation(x: np.ndarray) -> float:
    """Of each value with the next, r₁ = Σ(x_t − x̄)(x_{t+1} − x̄) / Σ(x_t − x̄)²; NaN of a constant."""
    off = x - x.mean()
    return float(off[:-1] @ off[1:] / (off @ off)) if off.any() else float("nan")


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
