"""One population is not taken for two, and two are found; more samples in `python -m benchmarks.duplex`."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from benchmarks.duplex import LIMIT, ONE, TWO, called
from crystalseg.measurement.populations import _log_concave, duplex


@pytest.mark.parametrize("structure", ONE)
@pytest.mark.parametrize("limit", [0.0, LIMIT])
def test_one_population_is_not_taken_for_two(structure, limit):
    # at most 5 % are promised, of which 40 samples show 10 % by chance; two normal distributions gave 25
    assert called(ONE[structure], 100, limit, 40, 1) <= 10


@pytest.mark.parametrize("mixture", TWO)
def test_two_populations_four_grain_size_numbers_apart_are_found(mixture):
    assert called(TWO[mixture], 300, 0.0, 20, 1) >= 85


@pytest.mark.parametrize("limit", [0.0, LIMIT])
def test_as_many_small_as_large_crystals_are_found_in_small_samples(limit):
    assert called(TWO["4 G apart, half by number"], 100, limit, 40, 1) >= 95


@pytest.mark.parametrize("main", [lambda rng: rng.lognormal(np.log(20), 0.3, 1600), lambda rng: rng.rayleigh(20, 1600)])
def test_a_few_huge_crystals_are_found(main):
    rng = np.random.default_rng(2)
    small, huge = main(rng), rng.lognormal(np.log(400), 0.2, 5)
    assert duplex(small) is None
    found = duplex(np.concatenate((small, huge)))
    assert found.number[1] == pytest.approx(5 / 1605, rel=0.05)
    assert found.area[1] == pytest.approx(
        np.square(huge).sum() / (np.square(small).sum() + np.square(huge).sum()), abs=0.01
    )


@given(st.lists(st.integers(0, 50), min_size=4, max_size=12).filter(any))
def test_no_log_concave_distribution_is_likelier(counts):
    counts = np.array(counts, float)
    shares = counts / counts.sum()
    found = _log_concave(counts)
    bent = np.diff(np.eye(len(counts)), 2, axis=0)
    reference = optimize.minimize(
        lambda logs: np.exp(logs).sum() - shares @ logs,
        np.zeros(len(counts)),
        jac=lambda logs: np.exp(logs) - shares,
        bounds=[(-30, 1)] * len(counts),
        constraints={"type": "ineq", "fun": lambda logs: -bent @ logs, "jac": lambda _: -bent},
        method="SLSQP",
    ).x
    own = reference - np.log(np.exp(reference).sum())
    if reference.min() > -20 and (bent @ reference < 1e-6).all():
        assert found >= counts @ own - 0.01
    for p in (0.2, 0.5, 0.7):
        assert found >= (counts * stats.binom.logpmf(np.arange(len(counts)), len(counts) - 1, p)).sum() - 0.01
    seen = counts > 0  # and none beats the counts themselves
    assert found <= (counts[seen] * np.log(shares[seen])).sum() + 1e-6


def test_log_concave_counts_are_their_own_best_distribution():
    counts = 1000 * stats.binom.pmf(np.arange(12), 11, 0.4)
    assert _log_concave(counts) == pytest.approx((counts * np.log(counts / counts.sum())).sum(), abs=0.01)


def test_two_populations_by_hand():
    rng = np.random.default_rng(0)
    one = 20 * np.exp(0.4 * rng.standard_normal(600))
    other = 150 * np.exp(0.25 * rng.standard_normal(30))
    assert duplex(one[:20]) is None
    assert duplex(np.full(100, 3.0)) is None
    found = duplex(np.concatenate((one, other)))
    assert found.diameters == pytest.approx((20, 150), rel=0.1)
    assert found.apart == pytest.approx(2 * np.log2(150 / 20), rel=0.1)
    assert found.number == pytest.approx((600 / 630, 30 / 630), abs=0.02)
    share = np.square(other).sum() / (np.square(one).sum() + np.square(other).sum())
    assert found.area[1] == pytest.approx(share, abs=0.03)
