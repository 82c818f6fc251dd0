"""Decide whether the sizes of a sample come from two populations (ASTM E1181: duplex).

If they do, no single number describes the sample. E1181-02 leaves the decision to the eye on a chart. Here, two
log-normal populations must describe the sizes better than one, by more than chance explains (bootstrap of the
likelihood ratio: McLachlan 1987, Applied Statistics 36:318). They must also lie APART grain-size numbers apart, and
each must hold a share of the area. A tail of small sections is not a second population: sections of grains cut near
their ends have little area. Crystals below the limit of detection are not seen, so both fits use distributions that are
truncated there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

APART = 3.0  # G between the medians; E930 demands the same distance of outliers
VALLEY = 2.5  # least Ashman's D of two normal distributions; above 2 a valley separates them (1994, AJ 108:2348)
COARSE = 0.05  # least area share of coarse crystals; with less they are outliers, see `grain_size.outliers`
FINE = 0.03  # least area share of fine crystals; at 4 G apart, half of them by number hold 6 %
LEAST = 30  # fewer crystals do not show two populations
BINS = 60
DRAWS = 39  # samples drawn from one population, none of which may reach the likelihood ratio: 2.5 %
_BOUNDS = ((-6.0, 6.0), (None, None), (None, None), (np.log(0.05), 0.0), (np.log(0.05), 0.0))
G_PER_LOG = 2 / np.log(2)  # difference of G between diameters that differ by the factor e


@dataclass(frozen=True)
class Populations:
    """Two log-normal populations in one sample.

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
    logs = np.log(diameters)
    edges, counts = _binned(logs)
    two, likelihood = _two(edges, counts)
    found = _populations(two, logs)
    if found is None:
        return None
    one, alone = _one(edges, counts)
    ratio = likelihood - alone
    rng = np.random.default_rng(0)
    low = special.ndtr((edges[0] - one[0]) / one[1])
    for _ in range(DRAWS):
        drawn = one[0] + one[1] * special.ndtri(rng.uniform(low, 1, len(logs)))
        edges, counts = _binned(drawn)
        if _two(edges, counts)[1] - _one(edges, counts)[1] >= ratio:
            return None
    return found


def _populations(two: np.ndarray, logs: np.ndarray) -> Populations | None:
    """Return the two populations with these parameters if they lie far enough apart and hold enough area, else None."""
    share, means, widths = special.expit(two[0]), two[1:3], np.exp(two[3:])
    order = np.argsort(means)
    if G_PER_LOG * np.ptp(means) < APART or np.sqrt(2) * np.ptp(means) / np.hypot(*widths) < VALLEY:
        return None
    shares = np.array([share, 1 - share])
    dense = shares * np.exp(-0.5 * ((logs[:, None] - means) / widths) ** 2) / widths
    belongs = (dense / np.maximum(dense.sum(axis=1, keepdims=True), 1e-300))[:, order]
    number, area = belongs.sum(axis=0), (belongs * np.exp(2 * logs)[:, None]).sum(axis=0)
    number, area = number / number.sum(), area / area.sum()
    if area[0] < FINE or area[1] < COARSE:
        return None
    return Populations(_pair(np.exp(means[order])), _pair(number), _pair(area))


def _pair(values: np.ndarray) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _binned(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bin edges and counts.

    The first edge is the limit of detection, which is the smallest size seen.
    """
    counts, edges = np.histogram(logs, BINS)
    return edges, counts.astype(float)


def _seen(edges: np.ndarray, mean: float, width: float) -> tuple[np.ndarray, float]:
    """Return the shares of a normal population in the bins, and its share above the first edge."""
    reached = special.ndtr((edges - mean) / width)
    return np.diff(reached), float(1 - reached[0])


def _one(edges: np.ndarray, counts: np.ndarray) -> tuple[tuple[float, float], float]:
    """Return mean and width of the one population with the largest likelihood, and the log-likelihood.

    The population is truncated at the first edge.
    """
    middles = (edges[1:] + edges[:-1]) / 2
    mean = float(np.average(middles, weights=counts))
    width = float(np.sqrt(np.average((middles - mean) ** 2, weights=counts)))

    def loss(of: np.ndarray) -> float:
        inside, above = _seen(edges, of[0], np.exp(of[1]))
        return -float((counts * np.log(np.maximum(inside / max(above, 1e-12), 1e-12))).sum())

    bounds = ((edges[0] - 1, edges[-1]), (np.log(0.05), 0.7))
    found = optimize.minimize(loss, (mean, np.log(max(width, 0.06))), method="L-BFGS-B", bounds=bounds)
    return (float(found.x[0]), float(np.exp(found.x[1]))), -float(found.fun)


def _two(edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the parameters of the two populations with the largest likelihood, and the log-likelihood.

    The populations are truncated at the first edge. The parameters are the logit of the first one's share, the means,
    and the logarithms of the widths.
    """
    middles = (edges[1:] + edges[:-1]) / 2

    def loss(of: np.ndarray) -> float:
        share = special.expit(of[0])
        first, second = (_seen(edges, of[1 + k], np.exp(of[3 + k])) for k in (0, 1))
        inside = share * first[0] + (1 - share) * second[0]
        above = share * first[1] + (1 - share) * second[1]
        return -float((counts * np.log(np.maximum(inside / max(above, 1e-12), 1e-12))).sum())

    reached = np.cumsum(counts) / counts.sum()
    best: tuple[np.ndarray, float] | None = None
    for cut in _cuts(middles, counts, reached):
        start = []
        for part in (middles <= cut, middles > cut):
            mean = np.average(middles[part], weights=counts[part])
            start.append((mean, np.sqrt(np.average((middles[part] - mean) ** 2, weights=counts[part])) + 0.06))
        share = counts[middles <= cut].sum() / counts.sum()
        guess = (special.logit(share), start[0][0], start[1][0], np.log(start[0][1]), np.log(start[1][1]))
        bounds = (_BOUNDS[0], *[(edges[0], edges[-1])] * 2, *_BOUNDS[3:])
        found = optimize.minimize(loss, np.clip(guess, *np.array(bounds, float).T), method="L-BFGS-B", bounds=bounds)
        if best is None or -found.fun > best[1]:
            best = found.x, -float(found.fun)
    assert best is not None
    return best


def _cuts(middles: np.ndarray, counts: np.ndarray, reached: np.ndarray) -> Sequence[float]:
    """Return the sizes at which to divide the sample for a first guess: after a few small ones, in half, before a few
    large ones."""
    places = np.searchsorted(reached, (0.15, 0.5, 0.92))
    return [float(middles[min(k, len(middles) - 2)]) for k in dict.fromkeys(places.tolist()) if counts[: k + 1].any()]
