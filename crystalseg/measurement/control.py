"""Compute individuals and moving-range control charts with the Western Electric rules.

Sources: ISO 7870-2; Statistical Quality Control Handbook, Western Electric 1956.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crystalseg.errors import UserError

D2 = 1.128  # expected range of two normally distributed values, in standard deviations
D4 = 3.267  # upper limit of the moving range, in units of the mean range
RULES = (
    "one point beyond 3σ",
    "two of three points in a row beyond 2σ on one side",
    "four of five points in a row beyond 1σ on one side",
    "eight points in a row on one side",
    "moving range above its limit",
)
PHASE_ONE = 20  # number of points that set the limits if there are more: the low end of the usual 20 to 25
CORRELATED = (
    1.96  # times 1/√n; by chance alone, the correlation of neighbours exceeds this in 5 % of charts (Bartlett 1946)
)


@dataclass(frozen=True)
class ControlChart:
    """A control chart of individual values.

    `values` (n,) holds the values in order, and `ranges` (n − 1,) holds the ranges between neighbours. `centre` is the
    centre line, `sigma` = mean range / 1.128, and `range_limit` = 3.267 × mean range. `signals` holds for each value
    the numbers (1 to 5) of the RULES that it completes. `base` is the number of values, counted from the first, that
    set the limits (phase I). `correlation` is the correlation of neighbouring values, NaN if it cannot be determined.
    """

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
        """Return the remarks that must accompany the chart."""
        said = []
        if self.base == len(self.values):
            said.append(
                f"The {self.base} points set the limits by which they are judged (phase I). Their signals show what to "
                "look into, but do not prove that the process was out of control. From "
                f"{PHASE_ONE + 1} points on, the first {PHASE_ONE} set the limits for the later ones."
            )
        else:
            said.append(f"The first {self.base} points set the limits (phase I) for all later ones.")
        if self.correlation > CORRELATED / np.sqrt(len(self.values)):
            said.append(
                f"Neighbouring points are correlated ({self.correlation:.2f}), so the limits from the moving range are "
                "too narrow, and points that are in control give signals. Chart points that are further apart, or the "
                "means of groups."
            )
        return said

    @property
    def limits(self) -> tuple[float, float]:
        return self.centre - 3 * self.sigma, self.centre + 3 * self.sigma


def control_chart(values: Sequence[float], base: int | None = None) -> ControlChart:
    """Return the control chart of at least two individual values in their order.

    The first `base` values set the limits (phase I). If `base` is not given, the first PHASE_ONE values set them, or
    all values if there are no more. Raise UserError for fewer than two values, a value that is not finite, or a base
    under two.
    """
    x = np.asarray(values, float)
    if len(x) < 2 or not np.isfinite(x).all():
        raise UserError("A control chart needs two or more values.")
    base = min(len(x), base or PHASE_ONE)
    if base < 2:
        raise UserError("The limits of a control chart need two or more values.")
    ranges = np.abs(np.diff(x))
    mean_range = float(ranges[: base - 1].mean())
    centre, sigma = float(x[:base].mean()), mean_range / D2
    z = (x - centre) / sigma if sigma > 0 else np.zeros(len(x))
    limit = D4 * mean_range
    wide = [False, *(ranges > limit)]
    signals = tuple((*broken, *((5,) if far else ())) for broken, far in zip(_signals(z), wide, strict=True))
    return ControlChart(x, ranges, centre, sigma, limit, signals, base, _correlation(x))


def _correlation(x: np.ndarray) -> float:
    """Return the correlation of each value with the next, r₁ = Σ(x_t − x̄)(x_{t+1} − x̄) / Σ(x_t − x̄)².

    Return NaN if all values are equal.
    """
    off = x - x.mean()
    return float(off[:-1] @ off[1:] / (off @ off)) if off.any() else float("nan")


def _signals(z: np.ndarray) -> list[tuple[int, ...]]:
    # rule, window, how many points in the window, beyond how many standard deviations
    rules = ((1, 1, 1, 3.0), (2, 3, 2, 2.0), (3, 5, 4, 1.0), (4, 8, 8, 0.0))
    broken = []
    for k, value in enumerate(z):
        side = np.sign(value)
        broken.append(
            tuple(
                rule
                for rule, window, many, beyond in rules
                # the point itself must be one of them, because it completes the pattern
                if side * value > beyond and np.count_nonzero(side * z[max(0, k + 1 - window) : k + 1] > beyond) >= many
            )
        )
    return broken
