"""Compute ASTM grain-size numbers G, coarse outliers, and the precision that several fields give.

The formulas are those of ASTM E112-13, E1382-97 and E930-18, taken second-hand from public sources, not from the
purchased standards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALA_COARSER = 3.0  # E930-18, 4.2: coarse outliers are at least 3 G coarser than the rest
ALA_AREA = 0.05  # and they cover at most 5 % of the specimen's area


def g_of_count(per_mm2: float) -> float:
    """Return G for a number of grains per mm² (E112-13 clause 11, equation 6): 3.321928·log10(N_A) − 2.954."""
    return 3.321928 * float(np.log10(per_mm2)) - 2.954


def g_of_intercept(mm: float) -> float:
    """Return G for a mean lineal intercept in mm (E112-13 clause 15): −6.643856·log10(l) − 3.288."""
    return -6.643856 * float(np.log10(mm)) - 3.288


def g_of_area(mm2: float) -> float:
    """Return G for a mean grain area in mm² (E1382-97): −3.3223·log10(A) − 2.955."""
    return -3.3223 * float(np.log10(mm2)) - 2.955


@dataclass(frozen=True, eq=False)
class Planimetric:
    """The planimetric count of the crystals of a field.

    `ids` is int (n,). `parts`, float (n,), is what each crystal counts: 1 inside the field, ½ if one edge cuts it, ¼ at
    a corner.
    """

    ids: np.ndarray
    parts: np.ndarray

    @property
    def inside(self) -> int:
        return int((self.parts == 1).sum())

    @property
    def cut(self) -> int:
        return int((self.parts == 0.5).sum())

    @property
    def corner(self) -> int:
        return int((self.parts == 0.25).sum())

    @property
    def count(self) -> float:
        """Return N = inside + ½ · cut + ¼ · corner (E112-13 clause 11, rectangular field)."""
        return float(self.parts.sum())


def planimetric(labels: np.ndarray) -> Planimetric:
    """Count the crystals of a rectangular field; labels are integer (H, W), 0 = none.

    A crystal that covers a corner of the field counts as a corner crystal, even if it covers two corners.
    """
    parts = np.zeros(int(labels.max(initial=0)) + 1)
    for row in labels:
        parts[row] = 1.0
    parts[np.concatenate((labels[0], labels[-1], labels[:, 0], labels[:, -1]))] = 0.5
    parts[labels[[0, 0, -1, -1], [0, -1, 0, -1]]] = 0.25
    parts[0] = 0.0
    ids = np.flatnonzero(parts)
    return Planimetric(ids, parts[ids])


@dataclass(frozen=True)
class Outliers:
    """The coarse grains that stand apart from the rest of a specimen (E930-18, 4.2).

    `count` is the number of outliers. `largest` is the area of the largest grain (unit²). `coarser` is by how many G
    the smallest outlier is coarser than the mean of the rest. `share` is the outliers' share of the specimen's area,
    0..1.
    """

    count: int
    largest: float
    coarser: float
    share: float

    @property
    def ala(self) -> bool:
        """Return whether the largest grain must be reported as ALA (as large as).

        That is the case if there are outliers and all of them together cover at most 5 % of the area.
        """
        return self.count > 0 and self.share <= ALA_AREA


def outliers(areas: np.ndarray, specimen: float) -> Outliers | None:
    """Find the coarse grains among `areas`, float (n,), in a specimen whose area has the same unit.

    The outliers are the largest grains, as many as are each at least ALA_COARSER coarser than the mean of all remaining
    grains. Return None for fewer than two grains.
    """
    if len(areas) < 2:
        return None
    ordered = np.sort(areas)[::-1]
    rest = (ordered.sum() - np.cumsum(ordered))[:-1] / np.arange(len(ordered) - 1, 0, -1)
    coarser = 3.3223 * np.log10(ordered[:-1] / rest)
    apart = np.flatnonzero(coarser >= ALA_COARSER)
    count = int(apart[-1]) + 1 if len(apart) else 0
    least = float(coarser[max(count - 1, 0)])
    return Outliers(count, float(ordered[0]), least, float(ordered[:count].sum() / specimen))


@dataclass(frozen=True)
class Precision:
    """The precision of a figure measured in n fields.

    It holds the mean, the standard deviation, the half width of the 95 % interval, the same in per cent of the mean
    (%RA), and the number of fields that the wanted precision needs.
    """

    fields: int
    mean: float
    deviation: float
    half_width: float
    relative: float
    needed: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width


def precision(values: Sequence[float], wanted: float = 10.0) -> Precision | None:
    """Return the precision of one figure (N_A, l) over several fields, or None for fewer than two fields.

    The formulas are those of E112-13 clause 15, statistical analysis: CI = t(0.975, n − 1)·s/√n, %RA = 100·CI/mean,
    fields needed = ⌈(t·s / (`wanted` %·mean))²⌉.
    """
    x = np.asarray(values, float)
    if len(x) < 2:
        return None
    t = float(stats.t.ppf(0.975, len(x) - 1))
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = t * deviation / np.sqrt(len(x))
    needed = max(1, int(np.ceil((t * deviation / (wanted / 100 * mean)) ** 2)))
    return Precision(len(x), mean, deviation, float(half), float(100 * half / mean), needed)
