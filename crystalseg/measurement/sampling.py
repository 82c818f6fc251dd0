"""Estimate how far a figure would differ in other fields of the same material: its sampling uncertainty.

The crystals of a field are not independent: a large crystal leaves less room for its neighbours, and a field may lie in
a coarse part. A field is therefore divided into 3 × 3 blocks, and the figures of these blocks show how much chance
there is in one ninth of the field (delete-one-block jackknife; Tukey 1958; Künsch 1989, Annals of Statistics 17:1217).
A figure is a ratio of sums over crystals, or a size at which such a ratio has a given value. In a ratio R = Σp/Σq, the
crystal i has the influence ψᵢ = (pᵢ − R·qᵢ)/Σq: to first order, the change of R without this crystal (Efron 1982, The
Jackknife, the Bootstrap and Other Resampling Plans, chapter 6).

`python -m benchmarks.coverage` measures how often the intervals hold (docs/reliability.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

LEVEL = 0.9544997  # probability that an expanded uncertainty covers; gives k = 2 for a well-known u (GUM table G.2)
SIDE = 3  # number of blocks along a side of the field
FEW_FIELDS = 8  # with fewer fields, their spread is too poorly known to stand alone
FEW_CRYSTALS = 30  # fewer crystals do not fill the blocks
DRAWS = 4000
OPEN = 10.0  # in multiples of the figure; an interval that reaches further tells nothing
# Neighbouring blocks share crystals, so nine of them together vary less than the field does. How much less follows from
# how much more blocks vary than single crystals do. With these factors, the intervals hold on planar Voronoi fields.
ALLOWANCE = 2.0
COUNTS = 1.2  # the same for numbers per area, whose blocks share the crystals at their edges
SKEWED = 2.4  # greatest k used for skewness; with few degrees of freedom k is large anyway


@lru_cache(maxsize=1024)
def coverage_factor(freedom: float) -> float:
    """Return k = t_95(ν) of Student's distribution (GUM G.6.4).

    k is 2 for many degrees of freedom ν and 3.3 for three.
    """
    if np.isinf(freedom):
        return float(special.ndtri((1 + LEVEL) / 2))
    return float(special.stdtrit(freedom, (1 + LEVEL) / 2))


@dataclass(frozen=True)
class Places:
    """The places of the crystals of a sample, (n,) each.

    `field` is the number of each crystal's field, 0, 1, …. `block` is the number of its block in the field, 0 … 8.
    `fields` is the number of fields, including those without crystals.
    """

    field: np.ndarray
    block: np.ndarray
    fields: int

    @property
    def cell(self) -> np.ndarray:
        """Return the number of each crystal's block within the sample."""
        return self.field * SIDE**2 + self.block

    @staticmethod
    def of(places: Sequence[tuple[np.ndarray, np.ndarray, tuple[int, int]]]) -> "Places":
        """Compute the places from the x and y of each field's crystals, px, and the shape (H, W) of the field."""
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
    """The sampling uncertainty of a figure.

    `standard` is u in the figure's unit, NaN if unknown. `freedom` is the degrees of freedom of u. `skew` is the
    acceleration a = Σψ³ / (6·(Σψ²)^1.5) (Efron 1987, JASA 82:171), 0 for a symmetric figure. `how` says in words where
    u comes from.
    """

    standard: float
    freedom: float
    skew: float
    how: str

    @property
    def reach(self) -> float:
        """Return U, half the 95 % interval: u·(k + 1.5·|a|·(1 + 2k²)).

        A sample that happens to lack large crystals has a small figure and a small u. The interval must therefore reach
        further on one side (Johnson 1978, JASA 73:536), and U is equally wide on the other. The factor is 1.5 because a
        sample is less skewed than the population it is drawn from.
        """
        k = coverage_factor(self.freedom)
        return self.standard * (k + 1.5 * abs(self.skew) * (1 + 2 * min(k, SKEWED) ** 2))

    @property
    def effective(self) -> float:
        """Return the standard uncertainty that gives `reach` when multiplied by k(freedom), for use in a budget."""
        return self.reach / coverage_factor(self.freedom)


UNKNOWN = Spread(float("nan"), float("inf"), 0.0, "too few crystals or fields")


def influence(p: np.ndarray, q: np.ndarray) -> tuple[float, np.ndarray]:
    """Return R = Σp/Σq of crystals, (n,) each, and the ψ of each crystal, (n,)."""
    ratio = float(p.sum() / q.sum())
    return ratio, (p - ratio * q) / q.sum()


def spread(influences: np.ndarray, places: Places, expected: np.ndarray | None = None) -> Spread:
    """Return the sampling uncertainty of a figure whose crystals have these influences ψ, float (n,).

    - One field: from its blocks, with 8 degrees of freedom.
    - Several fields: from all their blocks, or from the spread between the fields if that is larger, with n − 1 degrees
      of freedom for n fields. FEW_FIELDS or more: always from the spread between the fields.
    - Fewer than FEW_CRYSTALS crystals in fewer than FEW_FIELDS fields: as if independent, with n − 1 degrees of freedom
      for n crystals.

    In fewer than FEW_FIELDS fields, u is at least what independent crystals would give. `expected` is given for a
    number per area: Σψ in each block if all blocks are alike, (9 · fields,). Then independence is no lower bound,
    because grains keep their distance.
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
        own = Spread(float(np.sqrt(squares * n / (n - 1))), n - 1, skew, f"{n} crystals, assumed independent")
    else:
        within = float(np.square(blocks).sum() * cells / (cells - 1))
        where = "the field" if fields == 1 else f"each of {fields} fields"
        how = f"{SIDE} × {SIDE} blocks in {where}"
        if expected is None:
            within = max(within + ALLOWANCE * max(0.0, within - squares), squares)
            own = Spread(float(np.sqrt(within)), cells - 1, skew, how)
        else:  # a number varies with its own size, so U is that of its logarithm
            value, k = float(influences.sum()), coverage_factor(cells - 1)
            relative = COUNTS * float(np.sqrt(within)) / value
            own = Spread(value * float(np.expm1(k * relative)) / k, cells - 1, 0.0, how)
    return of_fields if fields > 1 and of_fields.standard > own.standard else own


def share_limits(share: float, of: Spread, n: float) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share, 0 … 1, of n crystals, seen with this spread.

    It is the interval of Clopper and Pearson (1934, Biometrika 26:404) for as many independent crystals as would vary
    equally (Korn and Graubard 1998, Survey Methodology 24:193).
    """
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
    """Return the area share of a kind of crystal that may have been missed because none was among n crystals.

    Each crystal of this kind has at least `relative_area` times the mean crystal's area. As many may have been missed
    as remain unseen in 2.3 % of samples (Clopper and Pearson, 0 of n).
    """
    number = 1 - ((1 - LEVEL) / 2) ** (1 / n)
    return number * relative_area / (number * relative_area + 1 - number)


def size_limits(sizes: np.ndarray, weights: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Return the sizes that the shares `low` and `high` of the weight do not exceed.

    Beyond the largest crystal, the few largest are extrapolated (exponential excess; Weissman 1978, JASA 73:812).
    """
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
    """Return the spread of a number per area for so few crystals that blocks tell nothing.

    Source: Garwood 1936, Biometrika 28:437.
    """
    tail = (1 - LEVEL) / 2
    reach = max(special.gammaincinv(count + 1, 1 - tail) - count, count - special.gammaincinv(count, tail))
    return Spread(float(reach / area / coverage_factor(np.inf)), float("inf"), 0.0, f"Poisson, {count:g} crystals")


@dataclass(frozen=True)
class LogNormal:
    """What a few sizes tell about a log-normal population.

    `middle` and `width` are draws of its μ and σ, (DRAWS,) each, as generalised pivotal quantities (Krishnamoorthy and
    Mathew 2003, Journal of Statistical Planning and Inference 115:103).
    """

    middle: np.ndarray
    width: np.ndarray
    crystals: int

    @staticmethod
    def of(sizes: np.ndarray, weights: np.ndarray) -> "LogNormal":
        """Draw the population from sizes above 0 and their counting weights, (n,) each, n ≥ 2."""
        n, logs = len(sizes), np.log(sizes)
        middle = np.average(logs, weights=weights)
        deviation = np.sqrt(np.average((logs - middle) ** 2, weights=weights) * n / (n - 1))
        rng = np.random.default_rng(0)
        width = deviation * np.sqrt((n - 1) / rng.chisquare(n - 1, DRAWS))
        return LogNormal(middle + rng.standard_normal(DRAWS) * width / np.sqrt(n), width, n)

    @staticmethod
    def of_upper_half(sizes: np.ndarray, weights: np.ndarray) -> "LogNormal":
        """Draw the population from the sizes above the median alone.

        Their logarithms lie about the median like half of a normal distribution. This shows how the large sizes
        continue, whatever the small ones are like.
        """
        order = np.argsort(sizes)
        ordered, own = sizes[order], weights[order]
        reached = (np.cumsum(own) - own / 2) / own.sum()
        median = float(np.interp(0.5, reached, ordered))
        above = reached > 0.5
        deviation = np.sqrt(np.average(np.log(ordered[above] / median) ** 2, weights=own[above]))
        rng = np.random.default_rng(0)
        freedom = int(above.sum())
        width = deviation * np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
        # the median of n sizes varies by √(π/2)·σ/√n
        middle = np.log(median) + rng.standard_normal(DRAWS) * width * np.sqrt(np.pi / 2 / len(sizes))
        return LogNormal(middle, width, len(sizes))

    def spread(self, value: float, draws: np.ndarray) -> Spread:
        """Return the spread of a figure with this value, from its values in the draws of the population, (DRAWS,).

        Return UNKNOWN if the interval is open.
        """
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(draws, [tail, 1 - tail])
        reach = max(high - value, value - low)
        if not reach <= OPEN * abs(value):
            return UNKNOWN
        k = coverage_factor(self.crystals - 1)
        return Spread(float(reach / k), self.crystals - 1, 0.0, f"{self.crystals} crystals, assumed log-normal")


def few_of(sizes: np.ndarray, weights: np.ndarray, places: Places) -> LogNormal | None:
    """Return what is known of the population if there are too few crystals for blocks, but more than one."""
    enough = len(sizes) >= FEW_CRYSTALS or places.fields >= FEW_FIELDS or len(sizes) < 2
    return None if enough else LogNormal.of(sizes, weights)


def wider(one: Spread, other: Spread) -> Spread:
    """Return the spread with the larger U, or an unknown one if there is one."""
    return one if not one.reach <= other.reach else other


def mean_size(sizes: np.ndarray, weights: np.ndarray, places: Places) -> tuple[float, Spread]:
    """Return the average of sizes and its sampling uncertainty.

    For a few crystals the uncertainty is that of a log-normal population, or Student's t where the former is open.
    """
    value, psi = influence(weights * sizes, weights)
    of, few = spread(psi, places), few_of(sizes, weights, places)
    if few is None:
        return value, of
    with np.errstate(over="ignore"):
        fitted = few.spread(value, np.exp(few.middle + few.width**2 / 2))
    return value, wider(fitted, of) if np.isfinite(fitted.standard) else of
