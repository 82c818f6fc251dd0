"""Boundaries of grains that fill the area: partitions of known truth, of which the boundaries were removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from crystalseg.measurement import boundaries
from crystalseg.measurement.assessment import assess
from crystalseg.measurement.boundaries import with_boundaries
from crystalseg.measurement.crystals import measure_crystals, remeasured
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import figures
from crystalseg.measurement.intercept import intercepts
from crystalseg.report.words import boundary_words
from tests.conftest import discs


def partition(seed, size, width, side=None):
    """Planar Voronoi grains of a mean size, px: labels without boundaries of a width, and the whole ones."""
    rng = np.random.default_rng(seed)
    side = side or max(240, 8 * size)
    count = rng.poisson((side + 8 * size) ** 2 / size**2)
    sites = rng.uniform(-4 * size, side + 4 * size, (count, 2))
    away, nearest = cKDTree(sites).query(np.stack(np.indices((side, side)), -1).reshape(-1, 2), 2)
    apart = np.linalg.norm(sites[nearest[:, 0]] - sites[nearest[:, 1]], axis=1)
    to_edge = (away[:, 1] ** 2 - away[:, 0] ** 2) / (2 * apart)
    _, whole = np.unique(nearest[:, 0], return_inverse=True)
    whole = (whole + 1).reshape(side, side).astype(np.int32)
    return np.where(to_edge.reshape(side, side) < width / 2, 0, whole), whole


@pytest.mark.parametrize(("size", "width"), [(20, 1), (20, 2), (20, 3), (40, 3), (40, 12), (60, 12), (100, 12)])
def test_intercepts_and_g_are_those_of_the_whole_grains(size, width):
    off = []
    # boundaries of 12 px cover half of the field about grains of 40 px, and some gaps at triple points remain
    close = 0.04 if (size, width) == (40, 12) else 0.025
    for seed in range(2):
        labels, whole = partition(seed, size, width)
        cut, gapless = (figures([Field(of, measure_crystals(of, 1.0), 1.0)], "exclude") for of in (labels, whole))
        assert cut["intercept_lines"].value == pytest.approx(gapless["intercept_lines"].value, rel=close)
        off.append([cut[key].value - gapless[key].value for key in ("g_lines", "g_area", "g_planimetric")])
    assert np.abs(np.mean(off, axis=0)).max() <= 2 * close


def test_the_g_of_one_image_agree():
    # of planar Voronoi cells the mean area is A = 1/N_A and l = π/4·√A (Miles 1972), so that G by lines lies
    # 6.643856·log10(√A/l) − 0.334 = 0.36 above G by count whatever the boundary
    apart = []
    for seed in range(3):
        labels, _ = partition(seed, 20, 3, 300)
        found = figures([Field(labels, measure_crystals(labels, 1.0), 1.0)], "exclude")
        apart.append([found[k].value - found["g_planimetric"].value for k in ("g_lines", "g_area")])
    lines, area = np.mean(apart, axis=0)
    assert lines == pytest.approx(6.643856 * np.log10(4 / np.pi) - 3.288 + 2.954, abs=0.1)
    assert area == pytest.approx(0, abs=0.1)


def test_lines_across_whole_grains_count_every_change_of_grain():
    _, whole = partition(7, 20, 0)
    plain = 2 * whole.size / ((np.diff(whole, axis=0) != 0).sum() + (np.diff(whole, axis=1) != 0).sum())
    assert intercepts(whole, "lines").mean == pytest.approx(plain, rel=0.05)


def test_particles_pores_and_what_is_marked_stay_as_outlined():
    apart = discs((300, 300), [(25 + 50 * r, 25 + 50 * c, 18) for r in range(6) for c in range(6)])
    assert with_boundaries(apart) is apart
    labels, _ = partition(1, 30, 2, 240)
    y, x = np.ogrid[:240, :240]
    pore = (y - 120) ** 2 + (x - 120) ** 2 <= 25**2
    grown = with_boundaries(np.where(pore, 0, labels))
    assert (grown[pore] == 0).mean() > 0.95  # all but where boundaries run into it
    assert (grown == 0).sum() == pytest.approx(pore.sum(), rel=0.12)
    marked = np.where(pore, labels.max() + 1, labels)
    crystals = measure_crystals(marked, None, None, {int(marked.max()): "pore"})
    assert crystals.set_index("id").loc[marked.max(), "area_px2"] == pytest.approx(pore.sum(), rel=0.1)


@settings(max_examples=10)
@given(st.integers(0, 99), st.sampled_from([1, 2, 3]))
def test_no_pixel_of_a_grain_changes_and_bands_do_not_show(seed, width):
    labels, _ = partition(seed, 24, width, 200)
    grown = with_boundaries(labels)
    assert (grown[labels > 0] == labels[labels > 0]).all()
    whole, boundaries.BAND = boundaries.BAND, 64
    try:
        assert (with_boundaries(labels) == grown).mean() > 0.999  # of equally near grains either is right
    finally:
        boundaries.BAND = whole


def test_a_correction_moves_the_boundaries_of_its_neighbours():
    labels, _ = partition(3, 24, 3, 150)
    confidence = np.ones(labels.max(), np.float32)
    table = measure_crystals(labels, None, confidence)
    middle = int(labels[75, 75] or labels[75, 78] or labels[78, 75])
    after = np.where(labels == middle, 0, labels)
    quick, whole = remeasured(table, {middle}, after, None, confidence, {}), measure_crystals(after, None, confidence)
    np.testing.assert_array_equal(quick["area_px2"], whole["area_px2"])
    np.testing.assert_allclose(quick["perimeter_px"], whole["perimeter_px"])


def test_the_first_convention_leaves_labels_as_they_are():
    labels, _ = partition(0, 20, 3, 200)
    then = measure_crystals(labels, convention=1)
    np.testing.assert_array_equal(then["area_px2"], np.bincount(labels.ravel())[then["id"]])
    field = Field(labels, then, None, convention=1)
    assert field.crystal_labels is labels
    assert not field.is_filled


def test_the_second_convention_leaves_wide_boundaries_of_small_grains_open():
    labels, whole = partition(0, 40, 12)
    then, now = (intercepts(with_boundaries(labels, convention), "lines").mean for convention in (2, 3))
    wanted = intercepts(whole, "lines").mean
    assert then < 0.9 * wanted
    assert now == pytest.approx(wanted, rel=0.03)
    field = Field(labels, measure_crystals(labels, convention=2), None, convention=2)
    assert "40 %" in boundary_words([True], assess([field], "exclude").convention)
    assert "60 %" in boundary_words([True])


def test_the_report_names_the_convention():
    labels, _ = partition(0, 20, 3, 200)
    found = assess([Field(labels, measure_crystals(labels, 1.0), 1.0)], "exclude")
    assert "half to each neighbour" in boundary_words(found.filled)
    apart = discs((300, 300), [(25 + 50 * r, 25 + 50 * c, 18) for r in range(6) for c in range(6)])
    found = assess([Field(apart, measure_crystals(apart, 1.0), 1.0)], "exclude")
    assert "as they are outlined" in boundary_words(found.filled)
    assert any("These crystals do not" in note for note in found.notes)
