"""How far a figure of a sample would differ in other fields of the same material: its sampling uncertainty.

Crystals of a field are not independent: what is large leaves its neighbours less, and a field may lie in a coarse
part. So a field is divided into 3 × 3 blocks, whose figures tell how much chance there is in one ninth of it
(delete-one-block jackknife; Tukey 1958; Künsch 1989, Annals of Statistics 17:1217). Figures are ratios of sums over
crystals, or sizes at which such a ratio has a given value. In a ratio R = Σp/Σq the crystal i has the influence
ψᵢ = (pᵢ − R·qᵢ)/Σq, to first order what R changes by without it (Efron 1982, The Jackknife, the Bootstrap and Other
Resampling Plans, chapter 6).

What holds how often is measured by `python -m benchmarks.coverage` (docs/reliability.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

LEVEL = 0.9544997  # of what an expanded uncertainty covers: k is 2 if u is well known (GUM table G.2)
SIDE = 3  # blocks along a side of the field
FEW_FIELDS = 8  # the spread between fewer is itself known too badly to stand alone
FEW_CRYSTALS = 30  # fewer do not fill blocks
DRAWS = 4000
OPEN = 10.0  # times a figure: an interval that reaches further tells nothing
# Neighbouring blocks share what they are made of, so that nine vary less together than the field does. How much less
# is told by how much more blocks vary than single crystals do; with these factors planar Voronoi fields hold.
ALLOWANCE = 2.0
COUNTS = 1.2  # the same of numbers per area, whose blocks share the crystals at their edges
SKEWED = 2.4  # coverage factor up to which skewness is allowed for; with few degrees of freedom k is large anyhow


@lru_cache(maxsize=1024)
def coverage_factor(freedom: float) -> float:
    """k = t_95(ν) of Student's distribution (GUM G.6.4): 2 with many degrees of freedom ν, 3.3 with three."""
    if np.isinf(freedom):
        return float(special.ndtri((1 + LEVEL) / 2))
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))


@dataclass(frozen=True)
class Places:
    """Where the crystals of a sample are, (n,) each. field: number of its field, 0, 1, …; block: number of its block in
    the field, 0 … 8; fields: how many there are, also without crystals."""

    field: np.ndarray
    block: np.ndarray
    fields: int

    @property
    def cell(self) -> np.ndarray:
        """Number of its block in the sample."""
        return self.field * SIDE**2 + self.block

    @staticmethod
    def of(places: Sequence[tuple[np.ndarray, np.ndarray, tuple[int, int]]]) -> "Places":
        """From the x and y of each field's crystals, px, and its shape (H, W)."""
        field = np.concatenate([np.full(len(x), k) for k, (x, *_) in enumerate(places)])
        block = np.concatenate([_block(x, y, shape) for x, y, shape in places])
        return Places(field, block, len(places))


def _block(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    row = np.clip(np.asarray(y) * SIDE // height, 0, SIDE - 1)
    column = np.clip(np.asarray(x) * SIDE // width, 0, SIDE - 1)
    return (row * SIDE + column).astype(int)


@dataclass(frozen=True)
class Spread:
    """A figure's sampling uncertainty. standard: u in its unit, NaN if unknown; freedom: degrees of freedom of u; skew:
    the acceleration a = Σψ³ / (6·(Σψ²)^1.5) (Efron 1987, JASA 82:171), 0 of what is symmetric; how: in words."""

    standard: float
    freedom: float
    skew: float
    how: str

    @property
    def reach(self) -> float:
        """U, half the 95 % interval: u·(k + 1.5·|a|·(1 + 2k²)). A sample that happens to lack large crystals has a
        small figure and a small u: the interval has to reach further on one side (Johnson 1978, JASA 73:536), and U is
        as wide on the other. 1.5: a sample is less skewed than what it is drawn from."""
        k = coverage_factor(self.freedom)
        return self.standard * (k + 1.5 * abs(self.skew) * (1 + 2 * min(k, SKEWED) ** 2))

    @property
    def effective(self) -> float:
        """The standard uncertainty of which k(freedom) makes `reach`, for a budget."""
        return self.reach / coverage_factor(self.freedom)


UNKNOWN = Spread(float("nan"), float("inf"), 0.0, "too few crystals or fields")


def influence(p: np.ndarray, q: np.ndarray) -> tuple[float, np.ndarray]:
    """R = Σp/Σq of crystals, (n,) each, and each one's ψ, (n,)."""
    ratio = float(p.sum() / q.sum())
    return ratio, (p - ratio * q) / q.sum()


def spread(influences: np.ndarray, places: Places, expected: np.ndarray | None = None) -> Spread:
    """Of a figure whose crystals have these influences ψ, float (n,).

    One field: blocks, 8 degrees of freedom. Several: all their blocks, or the spread between the fields where that is
    larger, and of FEW_FIELDS or more always the spread, n − 1 degrees of freedom. Crystals as if independent are the
    least that u can be. Fewer than FEW_CRYSTALS in less than FEW_FIELDS fields are taken as independent, n − 1 degrees
    of freedom. `expected`: of a number per area, what Σψ is in each block if all are alike, (9 · fields,); grains keep
    their distance, so that independence is no least then.
    """
    n, fields = len(influences), places.fields
    squares = float(np.square(influences).sum())
    skew = float((influences**3).sum() / (6 * squares**1.5)) if squares > 0 and expected is None else 0.0
    cells = SIDE**2 * fields
    blocks = np.bincount(places.cell, influences, cells) - (0.0 if expected is None else expected)
    by_field = blocks.reshape(fields, -1).sum(axis=1)
    between = float(np.square(by_field).sum() * fields / (fields - 1)) if fields > 1 else 0.0
    of_fields = Spread(float(np.sqrt(between)), fields - 1, skew, f"spread between {fields} fields")
    if fields >= FEW_FIELDS:
        return of_fields
    if n < FEW_CRYSTALS:
        if n < 2:
            return of_fields if fields > 1 and between > 0 else UNKNOWN
        own = Spread(float(np.sqrt(squares * n / (n - 1))), n - 1, skew, f"{n} crystals, taken as independent")
    else:
        within = float(np.square(blocks).sum() * cells / (cells - 1))
        where = "the field" if fields == 1 else f"each of {fields} fields"
        how = f"{SIDE} × {SIDE} blocks in {where}"
        if expected is None:
            within = max(within + ALLOWANCE * max(0.0, within - squares), squares)
            own = Spread(float(np.sqrt(within)), cells - 1, skew, how)
        else:  # a number varies with its size: U is taken of its logarithm
            value, k = float(influences.sum()), coverage_factor(cells - 1)
            relative = COUNTS * float(np.sqrt(within)) / value
            own = Spread(value * float(np.expm1(k * relative)) / k, cells - 1, 0.0, how)
    return of_fields if fields > 1 and of_fields.standard > own.standard else own


def share_limits(share: float, of: Spread, n: float) -> tuple[float, float]:
    """The ends of the 95 % interval of a share, 0 … 1, of n crystals, seen with this spread: Clopper and Pearson's
    (1934, Biometrika 26:404) of as many independent crystals as would vary so much (Korn and Graubard 1998, Survey
    Methodology 24:193)."""
    tail = (1 - LEVEL) / 2
    seen = n
    if of.standard > 0:
        fewer = (coverage_factor(max(n - 1, 1)) / coverage_factor(of.freedom)) ** 2
        seen = min(n, share * (1 - share) / of.standard**2 * fewer)
    count = share * seen
    low = float(special.betaincinv(count, seen - count + 1, tail)) if count > 0 else 0.0
    high = float(special.betaincinv(count + 1, seen - count, 1 - tail)) if count < seen else 1.0
    return low, high


def missed_share(n: float, relative_area: float) -> float:
    """The area share of crystals of a kind of which n crystals had none, each with at least `relative_area` times the
    mean crystal's area: as many may have been missed as are not seen in 2.3 % of samples (Clopper and Pearson, 0 of
    n)."""
    number = 1 - ((1 - LEVEL) / 2) ** (1 / n)
    return number * relative_area / (number * relative_area + 1 - number)


def size_limits(sizes: np.ndarray, weights: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The sizes that the shares `low` and `high` of the weight do not exceed; beyond the largest, as the few largest go
    on (exponential excess; Weissman 1978, JASA 73:812)."""
    order = np.argsort(sizes)
    ordered, own = sizes[order], weights[order] / weights.sum()
    reached = np.cumsum(own) - own / 2
    ends = np.interp([low, high], reached, ordered)
    last = 1 - reached[-1]
    few = int(np.sqrt(len(sizes)))
    if 1 - high < last and few > 1:
        excess = ordered[-few:].mean() - ordered[-few - 1]
        ends[1] += excess * min(3.0, np.log(last / max(1 - high, 1e-9)))
    return float(ends[0]), float(ends[1])


def poisson(count: float, area: float) -> Spread:
    """Of a number per area, of so few crystals that blocks tell nothing (Garwood 1936, Biometrika 28:437)."""
    tail = (1 - LEVEL) / 2
    reach = max(special.gammaincinv(count + 1, 1 - tail) - count, count - special.gammaincinv(count, tail))
    return Spread(float(reach / area / coverage_factor(np.inf)), float("inf"), 0.0, f"Poisson, {count:g} crystals")


@dataclass(frozen=True)
class LogNormal:
    """What a few sizes tell of a log-normal population: draws of its μ and σ, (DRAWS,) each, as generalised pivotal
    quantities (Krishnamoorthy and Mathew 2003, Journal of Statistical Planning and Inference 115:103)."""

    middle: np.ndarray
    width: np.ndarray
    crystals: int

    @staticmethod
    def of(sizes: np.ndarray, weights: np.ndarray) -> "LogNormal":
        """From sizes above 0 and their counting weights, (n,) each, n ≥ 2."""
        n, logs = len(sizes), np.log(sizes)
        middle = np.average(logs, weights=weights)
        deviation = np.sqrt(np.average((logs - middle) ** 2, weights=weights) * n / (n - 1))
        rng = np.random.default_rng(0)
        width = deviation * np.sqrt((n - 1) / rng.chisquare(n - 1, DRAWS))
        return LogNormal(middle + rng.standard_normal(DRAWS) * width / np.sqrt(n), width, n)

    @staticmethod
    def of_upper_half(sizes: np.ndarray, weights: np.ndarray) -> "LogNormal":
        """From the sizes above the median alone, whose logarithms lie about it as half of a normal distribution: how
        the large ones go on, whatever the small ones are like."""
        order = np.argsort(sizes)
        ordered, own = sizes[order], weights[order]
        reached = (np.cumsum(own) - own / 2) / own.sum()
        median = float(np.interp(0.5, reached, ordered))
        above = reached > 0.5
        deviation = np.sqrt(np.average(np.log(ordered[above] / median) ** 2, weights=own[above]))
        rng = np.random.default_rng(0)
        freedom = int(above.sum())
        width = deviation * np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
        # the median of n varies by √(π/2)·σ/√n
        middle = np.log(median) + rng.standard_normal(DRAWS) * width * np.sqrt(np.pi / 2 / len(sizes))
        return LogNormal(middle, width, len(sizes))

    def spread(self, value: float, draws: np.ndarray) -> Spread:
        """Of a figure with this value, which draws of the population have for it, (DRAWS,); UNKNOWN if it is open."""
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        reach = max(high - value, value - low)
        if not reach <= OPEN * abs(value):
            return UNKNOWN
        k = coverage_factor(self.crystals - 1)
        return Spread(float(reach / k), self.crystals - 1, 0.0, f"{self.crystals} crystals, taken as log-normal")


def few_of(sizes: np.ndarray, weights: np.ndarray, places: Places) -> LogNormal | None:
    """What is known of the population if there are too few crystals for blocks, but more than one."""
    enough = len(sizes) >= FEW_CRYSTALS or places.fields >= FEW_FIELDS or len(sizes) < 2
    return None if enough else LogNormal.of(sizes, weights)


def wider(one: Spread, other: Spread) -> Spread:
    """That with the larger U; one that is not known if there is one."""
    return one if not one.reach <= other.reach else other


def mean_size(sizes: np.ndarray, weights: np.ndarray, places: Places) -> tuple[float, Spread]:
    """The average of sizes and its sampling uncertainty; of a few crystals as of a log-normal population, by Student's
    t where that is open."""
    value, psi = influence(weights * sizes, weights)
    of, few = spread(psi, places), few_of(sizes, weights, places)
    if few is None:
        return value, of
    with np.errstate(over="ignore"):
        fitted = few.spread(value, np.exp(few.middle + few.width**2 / 2))
    return value, wider(fitted, of) if np.isfinite(fitted.standard) else of
