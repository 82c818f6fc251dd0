import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import (
    average_size,
    border_weights,
    cumulative,
    histogram,
    percentiles,
    summarise,
)
from crystalseg.measurement.sampling import Places
from tests.conftest import discs


def test_miles_lantuejoul_weights_by_hand():
    # in a field of 100 × 50: a crystal 20 wide and 10 high counts 100·50 / (80·40) = 25/16
    table = pd.DataFrame(
        {"width_px": [20, 20], "height_px": [10, 10], "touches_border": [False, True], "kind": "crystal"}
    )
    assert border_weights(table, (50, 100), "exclude").tolist() == [25 / 16, 0]
    assert border_weights(table, (50, 100), "include").tolist() == [1, 1]


def test_border_rule_removes_the_bias_against_large_crystals():
    """Discs of two sizes, as many of each, thrown at random: the corrected mean must find the true one, 60 px."""
    rng = np.random.default_rng(0)
    side = 400
    rows = []
    for _ in range(40_000):
        d = rng.choice([20.0, 100.0])
        y, x = rng.uniform(-60, side + 60, 2)
        if -d / 2 < y < side + d / 2 and -d / 2 < x < side + d / 2:
            inside = d / 2 < y < side - d / 2 and d / 2 < x < side - d / 2
            rows.append({"width_px": d, "height_px": d, "touches_border": not inside, "kind": "crystal"})
    table = pd.DataFrame(rows)
    corrected = np.average(table["width_px"], weights=border_weights(table, (side, side), "exclude"))
    dropped = table["width_px"][~table["touches_border"]].mean()
    assert corrected == pytest.approx(60, abs=1)
    assert dropped < 55  # leaving them out without the weight is wrong


def test_percentiles_by_hand():
    sizes = np.array([4.0, 1.0, 3.0, 2.0])
    assert percentiles(sizes, np.ones(4)) == (1, 2, 4)
    assert percentiles(sizes, np.array([1, 1, 1, 97.0])) == (2, 2, 2)
    assert percentiles(sizes, np.array([97, 1, 1, 1.0])) == (4, 4, 4)
    assert percentiles(np.array([7.0]), np.ones(1)) == (7, 7, 7)


@given(st.lists(st.tuples(st.floats(0.1, 1e4), st.floats(0.01, 100)), min_size=1, max_size=60))
def test_distributions_sum_to_one_and_grow(pairs):
    sizes, weights = np.array(pairs).T
    ordered, q = cumulative(sizes, weights)
    assert (np.diff(ordered) >= 0).all()
    assert (np.diff(q) >= 0).all()
    assert q[-1] == pytest.approx(1)
    for logarithmic in (True, False):
        edges, share = histogram(sizes, weights, logarithmic)
        assert share.sum() == pytest.approx(1)
        assert edges[0] <= sizes.min()
        assert edges[-1] >= sizes.max()
    low, middle, high = percentiles(sizes, weights)
    assert sizes.min() <= low <= middle <= high <= sizes.max()


def spread_out(count):
    rng = np.random.default_rng(2)
    return Places.of([(*rng.uniform(0, 100, (2, count)), (100, 100))])


def test_interval_of_many_independent_crystals_is_no_narrower_than_students():
    sizes = np.random.default_rng(1).normal(50, 10, 800)
    found = average_size(sizes, np.ones(800), spread_out(800))
    _, high = stats.t.interval(0.95, 799, sizes.mean(), stats.sem(sizes))
    assert found.value == pytest.approx(sizes.mean())
    assert found.high - found.value == pytest.approx(found.value - found.low)
    assert 1 <= (found.high - found.value) / (high - sizes.mean()) < 3


@pytest.mark.parametrize(("crystals", "width"), [(2, 0.3), (5, 0.5), (8, 0.5), (20, 0.5)])
def test_interval_of_few_crystals_holds_the_true_mean(crystals, width):
    samples = np.random.default_rng(7).lognormal(-(width**2) / 2, width, (300, crystals))
    found = [average_size(of, np.ones(crystals), spread_out(crystals)) for of in samples]
    assert np.mean([interval.low <= 1 <= interval.high for interval in found]) >= 0.93


def test_a_single_crystal_has_no_interval():
    found = average_size(np.array([5.0]), np.ones(1), spread_out(1))
    assert found.value == 5
    assert np.isnan(found.low)


def test_summary_by_hand():
    labels = np.zeros((100, 100), np.int32)
    labels[10:20, 10:20] = 1  # 100 px²
    labels[40:60, 40:60] = 2  # 400 px²
    labels[0:10, 80:90] = 3  # at the border
    d = [2 * np.sqrt(a / np.pi) for a in (100, 400)]
    include = summarise(measure_crystals(labels), labels.shape, "include")
    assert include.average.value == pytest.approx((2 * d[0] + d[1]) / 3)  # the paper's ACS
    exclude = summarise(measure_crystals(labels, 2.0), labels.shape, "exclude")
    w = [1e4 / 90**2, 1e4 / 80**2]
    assert exclude.unit == "µm"
    assert exclude.average.value == pytest.approx(2 * (w[0] * d[0] + w[1] * d[1]) / sum(w))
    assert (exclude.found, exclude.counted, exclude.border) == (3, 2, 1)
    assert exclude.area_share == pytest.approx(0.06)
    assert exclude.area == pytest.approx((2 * d[0], 2 * d[1], 2 * d[1]))


def test_nothing_to_count_gives_no_summary():
    assert summarise(measure_crystals(np.zeros((40, 40), np.int32)), (40, 40), "include") is None
    cut = measure_crystals(discs((40, 40), [(0, 0, 10)]))
    assert summarise(cut, (40, 40), "exclude") is None
