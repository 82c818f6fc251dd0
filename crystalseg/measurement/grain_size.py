"""ASTM grain-size numbers G, the largest grain, and whether one number describes a sample at all.

Formulas of ASTM E112-13, E1382-97, E930-99 and E1181-02, read second-hand from public sources, not from the
purchased standards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

DUPLEX_BIC = 10.0  # how much better two populations must describe the diameters ("very strong", Kass and Raftery 1995)
DUPLEX_APART = 2.0  # Ashman's D above which two populations are apart (Ashman et al. 1994, AJ 108, 2348)
DUPLEX_AREA = 0.05  # least share of the area in each population (E1181 clause 6)
DUPLEX_LEAST = 30  # fewer crystals do not tell
ALA_COARSER = 3.0  # E930: a grain at least so many G coarser than the rest
ALA_AREA = 0.05  # and covering at most this share of the area


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
class LargestGrain:
    """E930-99: area of the largest crystal (unit²), how much coarser it is than the mean of the rest in G, its share of
    the crystals' area, and whether it is as large as (ALA): at least 3 G coarser and at most 5 % of the area."""

    area: float
    coarser: float
    share: float

    @property
    def ala(self) -> bool:
        return self.coarser >= ALA_COARSER and self.share <= ALA_AREA


def largest_grain(areas: np.ndarray) -> LargestGrain | None:
    """The largest of the crystals' areas, float (n,), of one unit; None if there are fewer than two."""
    if len(areas) < 2:
        return None
    largest = float(areas.max())
    rest = (float(areas.sum()) - largest) / (len(areas) - 1)
    return LargestGrain(largest, g_of_area(rest) - g_of_area(largest), largest / float(areas.sum()))


@dataclass(frozen=True)
class Populations:
    """Two log-normal populations in one sample: median diameters, and their shares of number and of area, 0..1."""

    diameters: tuple[float, float]
    number: tuple[float, float]
    area: tuple[float, float]


def duplex(diameters: np.ndarray) -> Populations | None:
    """Two populations if the diameters, float (n,), are clearly not one log-normal population, else None (E1181-02).

    E1181 judges by eye on a chart; here two normal populations of log diameter must describe the sample better than one
    by DUPLEX_BIC in the Bayesian information criterion, be DUPLEX_APART apart and hold DUPLEX_AREA of the area each.
    """
    if len(diameters) < DUPLEX_LEAST or len(np.unique(diameters)) < 10:
        return None
    from sklearn.mixture import GaussianMixture

    x = np.log(diameters)[:, None]
    fits = [GaussianMixture(k, random_state=0, n_init=3).fit(x) for k in (1, 2)]
    if fits[0].bic(x) - fits[1].bic(x) < DUPLEX_BIC:
        return None
    means, variances = fits[1].means_[:, 0], fits[1].covariances_[:, 0, 0]
    order = np.argsort(means)
    if np.sqrt(2) * abs(means[1] - means[0]) / np.sqrt(variances.sum()) < DUPLEX_APART:
        return None
    belongs = fits[1].predict_proba(x)[:, order]
    number, area = belongs.sum(axis=0), (belongs * diameters[:, None] ** 2).sum(axis=0)
    number, area = number / number.sum(), area / area.sum()
    if area.min() < DUPLEX_AREA:
        return None
    return Populations(tuple(np.exp(means[order])), tuple(number), tuple(area))


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
    """Of one figure (N_A, l) in several fields (E112-13 clause 17). None for fewer than two fields.

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
