"""Fit the growth law dⁿ − d₀ⁿ = K·t to mean sizes, and compute the activation energy from several temperatures.

n = 2 is growth driven by the curvature of grain boundaries (Burke & Turnbull 1952, Progress in Metal Physics 3, 220). n
= 3 is ripening limited by diffusion (Lifshitz & Slyozov 1961, Wagner 1961). n = 4 is ripening limited by diffusion
along boundaries.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from crystalseg.errors import UserError

GAS_CONSTANT = 8.314462618  # J / (mol K), CODATA 2018
EXPONENTS = (0.5, 12.0)  # the range in which n is sought
LEAST_GROWTH = 1.05  # last mean size / first; with less growth no law can be determined
CONFIDENCE = 0.95
TELLS = 2.0  # if the ends of n differ by more than this factor, both 2 and 4 fit and no law is determined
RESAMPLES = 400


class GrowthError(UserError):
    """A law cannot be fitted; the message is one sentence for the user."""


@dataclass(frozen=True)
class GrowthLaw:
    """The growth law dⁿ − d₀ⁿ = K·t.

    `exponent` is n with its 95 % interval; if n was given, the interval is n itself. `rate` is K, in unitⁿ per second,
    with its interval at that n. `initial` is d₀ in `unit`. `spread` is the standard deviation of the sizes about the
    law.
    """

    exponent: float
    exponent_low: float
    exponent_high: float
    rate: float
    rate_low: float
    rate_high: float
    initial: float
    spread: float
    unit: str

    def size(self, seconds: np.ndarray) -> np.ndarray:
        """Return the mean size after the given number of seconds."""
        return np.maximum(self.initial**self.exponent + self.rate * seconds, 0) ** (1 / self.exponent)

    @property
    def is_told(self) -> bool:
        """Return whether the frames distinguish one law from another."""
        return not self.is_open and self.exponent_high <= TELLS * self.exponent_low

    @property
    def is_open(self) -> bool:
        """Return whether the data leave n open on one side."""
        return self.exponent_low <= EXPONENTS[0] * 1.01 or self.exponent_high >= EXPONENTS[1] / 1.01


def fit(
    seconds: Sequence[float],
    sizes: Sequence[float],
    uncertainties: Sequence[float] | None = None,
    exponent: float | None = None,
    unit: str = "µm",
) -> GrowthLaw:
    """Fit the law to mean sizes at given times by least squares.

    If `uncertainties` are given, each size is weighted by its standard uncertainty. n is fitted unless `exponent` gives
    it. The interval of n is where the sum of squares stays below the F limit (profile likelihood; Bates & Watts 1988,
    Nonlinear Regression Analysis, section 6.1). Raise GrowthError, with the reason, if the law cannot be fitted.
    """
    t, d = np.asarray(seconds, float), np.asarray(sizes, float)
    sigma = np.ones_like(d) if uncertainties is None else np.asarray(uncertainties, float)
    good = np.isfinite(t) & np.isfinite(d) & (d > 0) & np.isfinite(sigma) & (sigma > 0)
    t, d, sigma = t[good], d[good], sigma[good]
    free = 2 if exponent else 3
    if len(np.unique(t)) <= free:
        raise GrowthError(f"A growth law needs at least {free + 1} frames with crystals at different times.")
    if d[t.argmax()] < LEAST_GROWTH * d[t.argmin()]:
        raise GrowthError(
            "The mean size grows by less than 5 % from the first frame to the last, so no growth law fits."
        )
    begin = t.min()
    series = _Series(t - begin, d, sigma)
    n = exponent or series.best()
    squares, rate, rate_error, initial = series.at(n)
    degrees = len(d) - free
    low = high = n
    if not exponent:
        limit = squares * (1 + stats.f.ppf(CONFIDENCE, 1, degrees) / degrees)
        low, high = (series.edge(n, end, limit) for end in EXPONENTS)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * rate_error
    law = GrowthLaw(n, low, high, rate, rate - reach, rate + reach, initial, 0.0, unit)
    rest = d - law.size(t - begin)
    return GrowthLaw(n, low, high, rate, rate - reach, rate + reach, initial, float(np.sqrt((rest**2).mean())), unit)


def with_tracks(law: GrowthLaw, seconds: Sequence[float], sizes: Sequence[float], diameters: np.ndarray) -> GrowthLaw:
    """Widen the intervals of a law, because its frames show the same crystals; `sizes` are mean sizes (f,) at times.

    `diameters`, float (tracks, f), holds the diameter of each tracked crystal in each frame, NaN where the crystal is
    not seen. Frames are not independent: what a sample lacks, every frame of it lacks. Crystals are therefore
    resampled, each with all its frames (bootstrap of clusters; Davison and Hinkley 1997, Bootstrap Methods and their
    Application, section 3.8). The mean sizes are changed in proportion to those of the resampled crystals, and the law
    is fitted to each such series. Each end of an interval is the end of the bootstrap interval or that of the interval
    from the scatter about the law, whichever reaches further.
    """
    t, d = np.asarray(seconds, float), np.asarray(sizes, float)
    seen = np.isfinite(diameters)
    good = np.isfinite(t) & np.isfinite(d) & (d > 0) & (seen.sum(axis=0) > 1)
    if len(diameters) < 2 or len(np.unique(t[good])) < 3:
        return law
    seen, own, t, d = seen[:, good], np.nan_to_num(diameters[:, good]), t[good] - t[good].min(), d[good]
    times = np.random.default_rng(0).multinomial(len(own), np.full(len(own), 1 / len(own)), RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (times @ own) / (times @ seen) / (own.sum(axis=0) / seen.sum(axis=0)) * d
    means = means[np.isfinite(means).all(axis=1) & (means > 0).all(axis=1)]
    tail = (1 - CONFIDENCE) / 2
    given = law.exponent_low == law.exponent_high
    rates = _rates(t, means, law.exponent)
    slow, fast = np.quantile(rates, [tail, 1 - tail])
    law = replace(law, rate_low=float(min(law.rate_low, slow)), rate_high=float(max(law.rate_high, fast)))
    if given:
        return law
    low, high = np.quantile(_exponents(t, means), [tail, 1 - tail])
    return replace(
        law, exponent_low=float(min(law.exponent_low, low)), exponent_high=float(max(law.exponent_high, high))
    )


def _line(t: np.ndarray, sizes: np.ndarray, n: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit dⁿ = d₀ⁿ + K·t to each series of sizes, (b, f), and return the slope and the sum of squares in size.

    The least-squares weights make errors of d count equally.
    """
    scale = sizes.mean(axis=1, keepdims=True)
    x = sizes / scale
    weights, y = x ** (2 - 2 * n), x**n
    total = weights.sum(axis=1, keepdims=True)
    mean_t, mean_y = ((weights * of).sum(axis=1, keepdims=True) / total for of in (t, y))
    slope = (weights * (t - mean_t) * (y - mean_y)).sum(axis=1) / (weights * (t - mean_t) ** 2).sum(axis=1)
    rest = y - mean_y - slope[:, None] * (t - mean_t)
    return slope * scale[:, 0] ** n, (weights * rest**2).sum(axis=1) / n**2


def _rates(t: np.ndarray, sizes: np.ndarray, n: float) -> np.ndarray:
    return _line(t, sizes, n)[0]


def _exponents(t: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the least-squares n of each series of sizes, (b, f)."""
    grid = np.geomspace(*EXPONENTS, 160)
    return grid[np.argmin([_line(t, sizes, n)[1] for n in grid], axis=0)]


class _Series:
    """Sizes at times, to which a law of a given n is fitted.

    Sizes and times are scaled so that dⁿ stays small.
    """

    def __init__(self, t: np.ndarray, d: np.ndarray, sigma: np.ndarray):
        self.time, self.size = float(t.max()), float(d.mean())
        self.t, self.d, self.sigma = t / self.time, d / self.size, sigma / sigma.mean()

    def at(self, n: float) -> tuple[float, float, float, float]:
        """Return the sum of squares, K, its standard error and d₀ of the best law with this n."""
        slope, offset = np.polyfit(self.t, self.d**n, 1)
        start = max(slope, 1e-6), max(offset, 0.1 * self.d.min() ** n) ** (1 / n)

        def law(t: np.ndarray, rate: float, initial: float) -> np.ndarray:
            return np.maximum(initial**n + rate * t, 1e-12) ** (1 / n)

        bounds = ([0, 0], [np.inf, np.inf])
        found, covariance = optimize.curve_fit(law, self.t, self.d, start, self.sigma, False, bounds=bounds)
        squares = float((((self.d - law(self.t, *found)) / self.sigma) ** 2).sum())
        scale = self.size**n / self.time
        return squares, float(found[0] * scale), float(np.sqrt(covariance[0, 0]) * scale), float(found[1] * self.size)

    def best(self) -> float:
        """Return the least-squares n."""
        grid = np.geomspace(*EXPONENTS, 25)
        squares = [self.at(n)[0] for n in grid]
        middle = int(np.argmin(squares))
        around = grid[max(middle - 1, 0)], grid[min(middle + 1, len(grid) - 1)]
        return float(optimize.minimize_scalar(lambda n: self.at(n)[0], bounds=around, method="bounded").x)

    def edge(self, n: float, end: float, limit: float) -> float:
        """Return how far n may move towards `end` before the sum of squares exceeds the limit."""
        if self.at(end)[0] <= limit or n == end:
            return end
        return float(optimize.brentq(lambda other: self.at(other)[0] - limit, n, end, xtol=1e-3))


@dataclass(frozen=True)
class Activation:
    """The activation energy and rate factor of K = K₀·exp(−Q/RT).

    `energy` is Q in kJ/mol, with its 95 % interval (NaN for two temperatures). `factor` is K₀.
    """

    energy: float
    low: float
    high: float
    factor: float


def activation(celsius: Sequence[float], rates: Sequence[float]) -> Activation:
    """Return Q by Arrhenius, from the K of one n at several temperatures, by regression of ln K on 1/T.

    Raise GrowthError for fewer than two temperatures, and for rates or kelvin temperatures that are not above zero.
    """
    kelvin, k = np.asarray(celsius, float) + 273.15, np.asarray(rates, float)
    if len(np.unique(kelvin)) < 2:
        raise GrowthError("An activation energy needs series at two temperatures or more.")
    if (k <= 0).any() or (kelvin <= 0).any():
        raise GrowthError("An activation energy needs rates above zero at temperatures above −273.15 °C.")
    line = stats.linregress(1 / kelvin, np.log(k))
    energy = -GAS_CONSTANT * line.slope / 1000
    reach = np.nan
    if len(k) > 2:
        reach = GAS_CONSTANT * line.stderr / 1000 * stats.t.ppf((1 + CONFIDENCE) / 2, len(k) - 2)
    return Activation(float(energy), float(energy - reach), float(energy + reach), float(np.exp(line.intercept)))
