"""Whether the sizes of a sample are of two populations (ASTM E1181: duplex), so that no one number describes them.

E1181-02 leaves that to the eye on a chart. Here two log-normal populations must describe the sizes better than one by
more than chance would have it (bootstrap of the likelihood ratio: McLachlan 1987, Applied Statistics 36:318), lie
APART grain-size numbers apart and each hold a share of the area. A tail of small sections is no second population:
those of grains cut near their ends have little area. Crystals below the limit of detection are not seen, so that both
fits are of distributions that are cut there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

APART = 3.0  # G between the medians: as far apart as E930 asks of outliers
VALLEY = 2.5  # Ashman's D of two normal distributions; above 2 there is a valley between them (1994, AJ 108:2348)
COARSE = 0.05  # least share of the area in coarse crystals: of less they are outliers, see `grain_size.outliers`
FINE = 0.03  # least share of the area in fine ones: half by number have 6 % at 4 G
LEAST = 30  # fewer crystals do not tell
BINS = 60
DRAWS = 39  # samples of one population of which none may have the likelihood ratio: 2.5 %
_BOUNDS = ((-6.0, 6.0), (None, None), (None, None), (np.log(0.05), 0.0), (np.log(0.05), 0.0))
G_PER_LOG = 2 / np.log(2)  # G by which diameters a factor e apart differ


@dataclass(frozen=True)
class Populations:
    """Two log-normal populations in one sample: median diameters, and their shares of number and of area, 0..1."""

    diameters: tuple[float, float]
    number: tuple[float, float]
    area: tuple[float, float]

    @property
    def apart(self) -> float:
        """Difference of their medians in grain-size numbers."""
        return float(G_PER_LOG * np.log(self.diameters[1] / self.diameters[0]))


def duplex(diameters: np.ndarray) -> Populations | None:
    """The two populations of the diameters, float (n,), if they are clearly not one, else None."""
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
    """Two populations with these parameters, if they lie apart and hold enough of the area of the crystals."""
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
    """Edges, the first at the limit of detection, which is the smallest size seen, and counts."""
    counts, edges = np.histogram(logs, BINS)
    return edges, counts.astype(float)


def _seen(edges: np.ndarray, mean: float, width: float) -> tuple[np.ndarray, float]:
    """The shares of a normal population in the bins, and the share above the first edge."""
    reached = special.ndtr((edges - mean) / width)
    return np.diff(reached), float(1 - reached[0])


def _one(edges: np.ndarray, counts: np.ndarray) -> tuple[tuple[float, float], float]:
    """Mean and width of the one population, cut at the first edge, with the largest likelihood, and its logarithm."""
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
    """The two populations, cut at the first edge, with the largest likelihood, and its logarithm: logit of the first's
    share, means, logarithms of widths."""
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
    """Where to divide the sizes for a first guess: a little of the small, half, a little of the large."""
    places = np.searchsorted(reached, (0.15, 0.5, 0.92))
    return [float(middles[min(k, len(middles) - 2)]) for k in dict.fromkeys(places.tolist()) if counts[: k + 1].any()]
