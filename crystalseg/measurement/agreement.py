"""Test whether two methods measure the same thing, with the limits of agreement of Bland and Altman."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crystalseg.errors import UserError


@dataclass(frozen=True)
class Agreement:
    """The agreement of two methods.

    `mean` (n,) is the mean of each pair, and `difference` (n,) is the second value minus the first. `bias` is the mean
    difference, and `bias_interval` is its 95 % interval. `limits` is bias ± 1.96 standard deviations; 95 % of the
    differences lie between these limits.
    """

    mean: np.ndarray
    difference: np.ndarray
    bias: float
    bias_interval: tuple[float, float]
    limits: tuple[float, float]


def bland_altman(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Return the agreement of paired measurements (n,) (Bland and Altman, Lancet 1986, 327, 307).

    Raise UserError if the two arrays differ in shape or hold fewer than two measurements.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if len(first) < 2 or first.shape != second.shape:
        raise UserError("To compare two methods, measure the same images, two or more, with both.")
    difference = second - first
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(stats.t.ppf(0.975, len(first) - 1)) * sd / np.sqrt(len(first))
    return Agreement(
        (first + second) / 2, difference, bias, (bias - half, bias + half), (bias - 1.96 * sd, bias + 1.96 * sd)
    )
