"""ASTM grain-size numbers G, coarse outliers, and how precisely several fields tell.

Formulas of ASTM E112-13, E1382-97 and E930-18, read second-hand from public sources, not from the purchased standards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ALA_COARSER = 3.0  # E930-18, 4.2: outlier coarse grains are 3 or more G coarser than the rest
ALA_AREA = 0.05  # and cover 5 % or less of the specimen's area


def g_of_count(per_mm2: float) -> float:
    """G of grains per mm² (E112-13 clause 11, equation 6): 3.321928·log10(N_A) − 2.954."""
    return 3.321928 * float(np.log10(per_mm2)) - 2.954


def g_of_intercept(mm: float) -> float:
    """G of the mean lineal intercept in mm (E112-13 clause 15): −6.643856·log10(l) − 3.288."""
    return -6.643856 * float(np.log10(mm)) - 3.288


def g_of_area(mm2: float) -> float:
    """G of the mean grain area in mm² (E1382-97): −3.3223·log10(A) − 2.955."""
    return -3.3223 * float(np.log10(mm2)) - 2.955


@dataclass(frozen=True, eq=False)
class Planimetric:
    """The crystals of a field. ids: int (n,); parts: what each counts, float (n,): 1 inside the field, ½ cut by one
    edge, ¼ at a corner."""

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
        """N = inside + ½ · cut + ¼ · corner (E112-13 clause 11, rectangular field)."""
        return float(self.parts.sum())


def planimetric(labels: np.ndarray) -> Planimetric:
    """Count the crystals of a rectangular field, labels integer (H, W), 0 = none. A crystal that covers a corner of the
    field counts as a corner's, also where it covers two."""
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
    """E930-18, 4.2: coarse grains outside of the rest of a specimen. count: how many; largest: area of the largest
    (unit²); coarser: how many G the least of them is coarser than the mean of the rest, share: of the specimen's area,
    0..1."""

    count: int
    largest: float
    coarser: float
    share: float

    @property
    def ala(self) -> bool:
        """Whether the largest is to be reported as grain as large as (ALA): all outliers together cover at most 5 %."""
        return self.count > 0 and self.share <= ALA_AREA


def outliers(areas: np.ndarray, specimen: float) -> Outliers | None:
    """The coarse grains among those of these areas, float (n,), in a specimen's area of the same unit: as many of the
    largest as are each ALA_COARSER or more coarser than the mean of all that are left; None if there are fewer than
    two grains."""
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
    """Of a figure measured in n fields: mean, standard deviation, half width of the 95 % interval, the same in per cent
    of the mean (%RA), and how many fields the wanted precision needs."""

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
    """Of one figure (N_A, l) in several fields (E112-13 clause 15, statistical analysis). None for fewer than two.

    CI = t(0.975, n − 1)·s/√n, %RA = 100·CI/mean, fields needed = ⌈(t·s / (`wanted` %·mean))²⌉.
    """
    x = np.asarray(values, float)
    if len(x) < 2:
        return None
    t = float(stats.t.ppf(0.975, len(x) - 1))
    mean, deviation = float(x.mean()), float(x.std(ddof=1))
    half = t * deviation / np.sqrt(len(x))
    needed = max(1, int(np.ceil((t * deviation / (wanted / 100 * mean)) ** 2)))
    return Precision(len(x), mean, deviation, float(half), float(100 * half / mean), needed)
