import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import sizes_and_weights
from crystalseg.measurement.grain_size import (
    g_of_area,
    g_of_count,
    g_of_intercept,
    outliers,
    planimetric,
    precision,
)
from crystalseg.synthetic.packing import laguerre, pack
from tests.conftest import squares


def test_grain_numbers_of_e112_table_4():
    # The standard's own row for G = 8: 1984.0 grains per mm², mean intercept 0.0200 mm, mean area 0.000504 mm²
    assert g_of_count(1984.0) == pytest.approx(8, abs=0.005)
    assert g_of_intercept(0.0200) == pytest.approx(8, abs=0.005)
    assert g_of_area(0.000504) == pytest.approx(8, abs=0.005)
    # and for G = 0: 7.75 per mm², 0.3200 mm, 0.1290 mm²
    assert g_of_count(7.75) == pytest.approx(0, abs=0.005)
    assert g_of_intercept(0.3200) == pytest.approx(0, abs=0.005)
    assert g_of_area(0.1290) == pytest.approx(0, abs=0.005)


def test_a_grid_of_squares_counts_as_many_as_fill_the_field():
    # Squares of 40 px in a field of 800 × 800, shifted: 19 × 19 whole, 4 · 19 cut by an edge, 4 at corners:
    # 361 + 76/2 + 4/4 = 400 = (800 / 40)²
    found = planimetric(squares(800, 40, (13, 21)))
    assert (found.inside, found.cut, found.corner) == (361, 76, 4)
    assert found.count == 400


@given(st.integers(0, 39), st.integers(0, 39))
def test_where_the_grid_lies_does_not_matter(dy, dx):
    if dy and dx:
        assert planimetric(squares(400, 40, (dy, dx))).count == 100


def test_a_tessellation_of_known_count_has_its_grain_number():
    """Log-normal Laguerre tessellation: the number of its cells that lie in the field is known from a larger field."""
    rng = np.random.default_rng(3)
    radii = np.sort(12 * np.exp(0.35 * rng.standard_normal(9000)))[::-1]
    sites = pack(radii, rng.uniform(0, 1600, (9000, 12)), rng.uniform(0, 1600, (9000, 12)), 0.85)
    owner, _ = laguerre(sites, 1600, 1600, 12.0)
    field = owner[300:1300, 300:1300]
    # each cell counts for the share of it that lies in the field: exact, because the whole cells are known
    whole = np.bincount(owner.ravel(), minlength=len(sites) + 1)[1:]
    here = np.bincount(field.ravel(), minlength=len(sites) + 1)[1:]
    exact = (here[whole > 0] / whole[whole > 0]).sum()
    um = 0.5
    mm2 = (1000 * um / 1000) ** 2
    g = g_of_count(exact / mm2)
    assert g_of_count(planimetric(field).count / mm2) == pytest.approx(g, abs=0.03)
    crystals = measure_crystals(field, um)
    _, weights, areas, _ = sizes_and_weights(crystals, field.shape, "exclude")
    assert g_of_area(np.average(areas, weights=weights) / 1e6) == pytest.approx(g, abs=0.06)


def test_outlier_coarse_grains_by_hand():
    # 499 grains of 100 µm² and one of 1000: 10 times the area is 3.3223 G coarser, and 1000 / 50900 of the area
    areas = np.append(np.full(499, 100.0), 1000.0)
    found = outliers(areas, areas.sum())
    assert (found.count, found.largest) == (1, 1000.0)
    assert found.coarser == pytest.approx(3.3223)
    assert found.share == pytest.approx(1000 / 50900)
    assert found.ala
    # in a specimen of which half is matrix they are half as much of it
    assert outliers(areas, 2 * areas.sum()).share == pytest.approx(1000 / 101800)
    assert not outliers(np.append(np.full(499, 100.0), 790.0), 50690.0).ala  # 2.98 G coarser
    # two large ones together: 2 · 1000 / 50900
    two = outliers(np.append(np.full(489, 100.0), [1000.0, 1000.0]), 50900.0)
    assert (two.count, two.ala) == (2, True)
    # ten with 24 % of the area are no ALA, whatever one of them has
    ten = outliers(np.append(np.full(317, 100.0), np.full(10, 1000.0)), 41700.0)
    assert (ten.count, ten.ala) == (10, False)
    assert ten.share == pytest.approx(0.24, abs=0.005)
    assert outliers(np.array([3.0]), 3.0) is None


def test_precision_over_fields_by_hand():
    # 5 fields: mean 100, s = √(10²·4/4) … values 90, 95, 100, 105, 110: s² = 250/4 = 62.5, t(0.975, 4) = 2.776
    found = precision([90, 95, 100, 105, 110])
    half = 2.776445 * np.sqrt(62.5 / 5)
    assert (found.mean, found.half_width) == (100, pytest.approx(half, rel=1e-5))
    assert found.relative == pytest.approx(half)
    assert found.needed == int(np.ceil((2.776445 * np.sqrt(62.5) / 10) ** 2))
    low, high = stats.t.interval(0.95, 4, 100, np.sqrt(62.5 / 5))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert precision([3.0]) is None
