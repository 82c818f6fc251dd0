"""Do two methods measure the same? Bland and Altman's limits of agreement."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from crystalseg.errors import UserError


@dataclass(frozen=True)
class Agreement:
    """mean (n,) of each pair and difference (n,), second less first; bias: mean difference, with its 95 % interval;
    limits: bias ± 1.96 standard deviations, between which 95 % of differences lie."""

    mean: np.ndarray
    difference: np.ndarray
    bias: float
    bias_interval: tuple[float, float]
    limits: tuple[float, float]


def bland_altman(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Agreement of paired measurements (n,), n of at least 2 (Bland and Altman, Lancet 1986, 327, 307)."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    if len(first) < 2 or first.shape != second.shape:
        raise UserError("Agreement needs the same two or more images measured by both methods.")
    difference = second - first
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(stats.t.ppf(0.975, len(first) - 1)) * sd / np.sqrt(len(first))
    return Agreement(
        (first + second) / 2, difference, bias, (bias - half, bias + half), (bias - 1.96 * sd, bias + 1.96 * sd)
    )
