import numpy as np
import pytest
from scipy.spatial import cKDTree

from crystalseg.measurement.boundaries import with_boundaries
from crystalseg.measurement.intercept import intercepts, lines_with_counts
from crystalseg.synthetic.packing import laguerre, pack
from tests.conftest import discs, squares


def test_a_grid_of_squares_has_its_side_as_intercept():
    # Each line of 800 px passes 19 whole squares of 40 px and ends in one at each side: 19 + 2·½ = 20
    found = intercepts(squares(800, 40, (13, 21)), "lines")
    assert found.mean == pytest.approx(40)
    assert {count for count, _ in found.by_line} == {20}
    assert len(found.crossings) == 16 * 20
    assert [name for name, *_ in lines_with_counts(found)][:2] == ["row 1", "row 2"]


def hexagons(side, across):
    """Regular hexagons, `across` px from flat to flat, on a side × side field."""
    rows = np.arange(-1, int(side / (across * np.sqrt(3) / 2)) + 3)
    sites = [
        (r * across * np.sqrt(3) / 2 + 3, c * across + (r % 2) * across / 2 + 7)
        for r in rows
        for c in range(-1, int(side / across) + 3)
    ]
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
    return cKDTree(sites).query(grid)[1].astype(np.int32) + 1


def test_circles_on_hexagons_find_cauchys_mean_chord():
    # The mean chord of a convex figure is πA/P (Cauchy); of a hexagon of width a: π·(√3/2)a² / (2√3·a) = πa/4
    found = intercepts(hexagons(1200, 30), "circles")
    assert found.mean == pytest.approx(np.pi * 30 / 4, rel=0.03)
    assert found.length == pytest.approx(2 * np.pi * 0.48 * 1200 * (1 + 2 / 3 + 1 / 3), rel=1e-3)


def test_a_few_lines_agree_with_all_rows_and_columns():
    rng = np.random.default_rng(1)
    radii = np.sort(14 * np.exp(0.4 * rng.standard_normal(4000)))[::-1]
    sites = pack(radii, rng.uniform(0, 1000, (4000, 12)), rng.uniform(0, 1000, (4000, 12)), 0.85)
    owner, gap = laguerre(sites, 1000, 1000, 12.0)
    # every row and column, crossings counted plainly: N of a line is its number of changes
    changes = (np.diff(owner, axis=0) != 0).sum() + (np.diff(owner, axis=1) != 0).sum()
    exact = 2 * owner.size / changes
    for pattern in ("lines", "circles"):
        assert intercepts(owner, pattern).mean == pytest.approx(exact, rel=0.06)
    # unlabelled boundaries 2 px wide belong to the length
    drawn = with_boundaries(np.where(gap < 1, 0, owner))
    assert intercepts(drawn, "lines").mean == pytest.approx(intercepts(owner, "lines").mean, rel=0.02)


def test_matrix_between_crystals_is_no_length():
    # Discs apart: the mean chord of a disc under lines at random offsets is πd/4
    rng = np.random.default_rng(0)
    sites = pack(np.full(900, 12.0), rng.uniform(0, 1600, (900, 20)), rng.uniform(0, 1600, (900, 20)), 1.3)
    found = intercepts(discs((1600, 1600), sites), "lines")
    assert found.mean == pytest.approx(np.pi * 24 / 4, rel=0.05)
    assert found.length < 0.4 * 16 * 1600


def test_nothing_cut_is_no_number():
    assert np.isnan(intercepts(np.zeros((60, 80), int), "circles").mean)
    # a line wholly inside one crystal meets no boundary
    whole = intercepts(np.ones((60, 80), int), "lines")
    assert whole.count == 0
    assert np.isnan(whole.mean)
    circles = intercepts(np.ones((60, 80), int), "circles")
    assert circles.count == 0
    # the two inner circles lie wholly in the disc, the outer one in the matrix
    assert intercepts(discs((201, 201), [(100, 100, 80)]), "circles").count == 0
