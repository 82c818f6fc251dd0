"""Decide whether the sizes of a sample come from two populations (ASTM E1181: duplex).

If they do, no single number describes the sample. E1181-02 leaves the decision to the eye on a chart. Here, the
sizes are divided in two wherever that describes them best. Both parts together must describe them clearly better than
any single population whose logarithms of size have a log-concave density. Log-normal sizes, Rayleigh's, and those of
plane sections of spheres and of Voronoi grains have one, and so has what remains of each above a limit of detection.
The best log-concave density is found without any parameter (Walther 2009, Statistical Science 24:319). The parts must
also lie APART grain-size numbers apart, with a valley between them, and each must hold a share of the area. A tail of
small sections is not a second population: sections of grains cut near their ends have little area.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

APART = 3.0  # G between the medians; E930 demands the same distance of outliers
VALLEY = 0.7  # most of the density at either median that the least density between them may have
NEAR = 0.17  # reach of the window, in the logarithm of size, in which densities are compared: half a G
COARSE = 0.05  # least area share of coarse crystals; with less they are outliers, see `grain_size.outliers`
FINE = 0.04  # least area share of fine crystals; at 4 G apart, half of them by number hold 6 %
LEAST = 30  # fewer crystals do not show two populations
FEW = 3  # least number of crystals of either part
BINS = 60
# Least log-likelihood ratio of two parts to one population. `python -m benchmarks.duplex` counts the false alarms.
RATIO = 7.5
STEPS = 50  # most steps of Newton's method; it needs fewer than 20
G_PER_LOG = 2 / np.log(2)  # difference of G between diameters that differ by the factor e


@dataclass(frozen=True)
class Populations:
    """Two populations in one sample, divided by size.

    It holds their median diameters, and their shares of number and of area, 0..1.
    """

    diameters: tuple[float, float]
    number: tuple[float, float]
    area: tuple[float, float]

    @property
    def apart(self) -> float:
        """Return the difference between their medians in grain-size numbers."""
        return float(G_PER_LOG * np.log(self.diameters[1] / self.diameters[0]))


def duplex(diameters: np.ndarray) -> Populations | None:
    """Return the two populations of the diameters, float (n,), if the diameters clearly come from two, else None."""
    if len(diameters) < LEAST or len(np.unique(diameters)) < 10:
        return None
    logs = np.sort(np.log(diameters))
    counts = np.histogram(logs, BINS)[0]
    alone = _log_concave(counts)
    best, found = RATIO, None
    for cut in range(1, BINS):
        small = int(counts[:cut].sum())
        if min(small, len(logs) - small) < FEW or (of := _divided(logs, small)) is None:
            continue
        parts = (counts[:cut], counts[cut:])
        ratio = sum(_log_concave(part) + part.sum() * np.log(part.sum() / len(logs)) for part in parts) - alone
        if ratio >= best:
            best, found = ratio, of
    return found


def _divided(logs: np.ndarray, small: int) -> Populations | None:
    """Return the populations if the `small` first of the sorted logarithms, float (n,), are one and the rest the other.

    Return None if they do not lie far enough apart, have no valley between them, or hold too little area.
    """
    fine, coarse = (float(np.median(part)) for part in (logs[:small], logs[small:]))
    if G_PER_LOG * (coarse - fine) < APART:
        return None
    areas = np.exp(2 * (logs - logs[-1]))
    area = float(areas[:small].sum() / areas.sum())
    if area < FINE or 1 - area < COARSE:
        return None
    at = np.linspace(fine, coarse, BINS)
    dense = np.searchsorted(logs, at + NEAR) - np.searchsorted(logs, at - NEAR)
    if dense.min() > VALLEY * min(dense[0], dense[-1]):
        return None
    number = small / len(logs)
    return Populations((float(np.exp(fine)), float(np.exp(coarse))), (number, 1 - number), (area, 1 - area))


def _log_concave(counts: np.ndarray) -> float:
    """Return the largest log-likelihood of counts in equal bins, float (n,), under a log-concave distribution.

    The logarithms of the expected counts are a straight line less hinges of weight 0 or more. Newton's method finds
    them; each of its steps is a least-squares problem with non-negative weights.
    """
    x = np.linspace(-1, 1, len(counts))
    hinges = np.column_stack((np.ones_like(x), -np.ones_like(x), x, -x, -np.maximum(x[:, None] - x[1:-1], 0)))

    def loss(logs: np.ndarray) -> float:
        return float((np.exp(logs) - counts * logs).sum())

    logs = np.full(len(counts), np.log(counts.mean()))
    for _ in range(STEPS):
        expected = np.exp(logs)
        root = np.sqrt(np.maximum(expected, 1e-9))
        target = logs + (counts - expected) / root**2
        step = hinges @ optimize.nnls(root[:, None] * hinges, root * target)[0] - logs
        size = 1.0
        while size > 1e-6 and loss(logs + size * step) > loss(logs):
            size /= 2
        before, logs = loss(logs), logs + size * step
        if before - loss(logs) < 1e-3:
            break
    shares = np.exp(logs) / np.exp(logs).sum()
    return float((counts * np.log(np.maximum(shares, 1e-300))).sum())
