import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import EXACT, expanded
from benchmarks.drawn_fields import sized
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import summarise
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import DEFINITIONS, G_PER_LENGTH, figures, needed_crystals
from crystalseg.measurement.grain_size import g_of_count, g_of_intercept
from crystalseg.measurement.sampling import FEW_FIELDS, coverage_factor
from crystalseg.measurement.uncertainty import budget
from tests.conftest import discs, squares


def field(labels, um=None, marks=None):
    return Field(labels, measure_crystals(labels, um, marks=marks), um)


def test_squares_give_every_figure_by_hand():
    # squares of 40 px, 0.5 µm a pixel: side 0.02 mm, area 400 µm², 2500 per mm²
    found = figures([field(squares(800, 40, (13, 21)), 0.5)], "exclude", above=10)
    diameter = 2 * 20 / np.sqrt(np.pi)
    for key in ("mean", "d10", "d50", "d90", "d10_area", "d50_area", "d90_area", "d32", "d43", "largest"):
        assert found[key].value == pytest.approx(diameter)
        assert found[key].unit == "µm"
    assert found["span"].value == 0
    assert found["area_above"].value == 1
    assert found["aspect"].value == pytest.approx(np.sqrt(0.5))
    assert found["intercept_lines"].value == pytest.approx(20)
    assert found["per_mm2"].value == pytest.approx(2500)
    assert found["per_mm2"].sampling < 2500 / 20  # squares lie evenly: chance would be √400 of 400
    assert found["g_planimetric"].value == pytest.approx(g_of_count(2500))
    per_cent = found["per_mm2"].sampling / 2500
    assert found["g_planimetric"].sampling == pytest.approx(np.log2(np.e) * per_cent)
    assert found["g_area"].value == pytest.approx(found["g_planimetric"].value, abs=0.01)
    assert found["g_lines"].value == pytest.approx(g_of_intercept(0.02))
    assert set(found) == set(DEFINITIONS)


def test_moments_by_hand():
    # three discs of areas 1 : 4 : 9 in effect, diameters d, 2d, 3d: Σx³/Σx² = 36/14 d, Σx⁴/Σx³ = 98/36 d
    labels = discs((200, 400), [(100, 60, 20), (100, 160, 40), (100, 300, 60)])
    found = figures([field(labels)], "include")
    x = np.array([2 * np.sqrt((labels == k).sum() / np.pi) for k in (1, 2, 3)])
    assert found["d32"].value == pytest.approx((x**3).sum() / (x**2).sum())
    assert found["d43"].value == pytest.approx((x**4).sum() / (x**3).sum())
    assert found["d32"].value == pytest.approx(36 / 14 * 40, rel=0.01)
    assert found["mean"].unit == "px"
    assert not any(key.startswith(("g_", "per_")) for key in found)  # no pixel size, no G


def test_fields_are_pooled_and_their_spread_is_the_uncertainty():
    small, large = squares(400, 20, (7, 3)), squares(400, 40, (13, 21))
    found = figures([field(small, 1.0), field(large, 1.0), field(small, 1.0)], "include")
    mean = found["mean"]
    assert len(mean.fields) == 3
    assert mean.fields[0] == mean.fields[2]
    each, counts = np.array(mean.fields), np.array([small.max(), large.max(), small.max()])
    assert mean.value == pytest.approx(np.average(each, weights=counts))
    # a ratio's influence by field: its crystals times how far its mean is from that of all, of all crystals
    by_field = counts * (each - mean.value) / counts.sum()
    spread = np.sqrt(3 / 2 * (by_field**2).sum())
    assert mean.sampling * coverage_factor(2) >= spread * coverage_factor(2)
    assert mean.sampling == pytest.approx(spread, rel=0.3)  # and what skewness adds
    assert "3 fields" in mean.how
    assert mean.freedom == 2
    assert found["g_planimetric"].freedom == found["per_mm2"].freedom == 2
    assert found["g_lines"].sampling == pytest.approx(
        G_PER_LENGTH * found["intercept_lines"].sampling / found["intercept_lines"].value
    )
    # (400/20)² twice and (400/40)² in three fields of 0.16 mm²
    assert found["g_planimetric"].value == pytest.approx(g_of_count(900 / (3 * 0.16)))


def test_fields_without_crystals_count_as_none_per_area():
    # 0, 0, 0, 0, 0, 0, 0 and twice 400 per 0.04 mm²: mean 2222 per mm², s/√9 of nine numbers
    full, empty = field(squares(200, 10, (3, 3)), 1.0), field(np.zeros((200, 200), int), 1.0)
    found = figures([full, full, *[empty] * 7], "include")["per_mm2"]
    each = np.array([400 / 0.04] * 2 + [0.0] * 7)
    assert found.fields == pytest.approx(each)
    assert found.value == pytest.approx(each.mean())
    assert (found.sampling, found.freedom) == (pytest.approx(each.std(ddof=1) / 3), 8)


def test_fields_that_agree_by_chance_are_no_more_certain_than_their_blocks_allow():
    rng = np.random.default_rng(1)
    places = [(25 + 50 * r, 25 + 50 * c, rng.uniform(8, 22)) for r in range(6) for c in range(6)]
    labels = discs((300, 300), places)
    alone = figures([field(labels)], "include")["mean"]
    twice = figures([field(labels), field(labels)], "include")["mean"]
    assert np.ptp(twice.fields) == 0
    assert twice.sampling == pytest.approx(alone.sampling / np.sqrt(2), rel=0.15)
    assert (twice.how, twice.freedom) == ("3 × 3 blocks in each of 2 fields", 17)
    many = figures([field(labels)] * FEW_FIELDS, "include")["mean"]
    assert (many.freedom, many.sampling) == (FEW_FIELDS - 1, pytest.approx(0))


def test_independent_crystals_agree_with_the_textbook():
    rng = np.random.default_rng(0)
    circles = [(25 + 50 * r, 25 + 50 * c, rng.uniform(8, 22)) for r in range(16) for c in range(16)]
    labels = discs((800, 800), circles)
    crystals = measure_crystals(labels)
    found = figures([Field(labels, crystals, None)], "include")
    sizes = crystals["equivalent_diameter_px"]
    assert found["mean"].value == pytest.approx(sizes.mean())
    textbook = sizes.std() / np.sqrt(len(sizes))  # of independent crystals, the least it may be
    assert textbook <= found["mean"].sampling < 2.5 * textbook
    assert needed_crystals(sizes.to_numpy(), np.ones(len(sizes))) == pytest.approx(
        (1.96 * sizes.std(ddof=0) / (0.05 * sizes.mean())) ** 2, abs=1
    )
    summary = summarise(crystals, labels.shape, "include")
    assert (found["d10"].value, found["d50"].value, found["d90"].value) == pytest.approx(summary.number)
    assert (found["d10_area"].value, found["d50_area"].value, found["d90_area"].value) == pytest.approx(summary.area)
    # one interval for one figure, on page and report
    assert summary.average.high - summary.average.value == pytest.approx(
        coverage_factor(found["mean"].freedom) * found["mean"].sampling
    )


def test_a_visible_part_is_a_lower_bound():
    # a disc of 200 px cut in half by the edge shows 141 px; whole ones have 40 px
    circles = [(y, x, 20) for y in range(100, 900, 60) for x in range(250, 900, 60)]
    labels = discs((1000, 1000), [*circles, (500, 0, 100)])
    found = figures([field(labels, 1.0)], "exclude", above=105)
    visible = 2 * np.sqrt((labels == len(circles) + 1).sum() / np.pi)
    assert found["largest"].value == pytest.approx(40, abs=1)
    assert found["largest"].at_least == pytest.approx(visible)
    assert found["area_above"].value == 0
    assert found["area_above"].at_least == pytest.approx((labels == len(circles) + 1).sum() / (labels > 0).sum())
    assert np.isnan(found["mean"].at_least)
    assert np.isnan(figures([field(labels, 1.0)], "include")["largest"].at_least)  # counted as it is


def test_nothing_seen_above_x_is_not_nothing_there():
    # none of n crystals: as many may be missed as leave 2.3 % of samples without one; each has at least x's area
    found = figures([sized(np.full(100, 10.0))], "include", above=20.0, calibration=0.0)["area_above"]
    number = 1 - 0.02275 ** (1 / 100)
    share = 4 * number / (4 * number + 1 - number)
    assert found.value == 0
    assert expanded(found) == pytest.approx(share, rel=1e-3)
    assert "none of 100 crystals is larger" in found.how
    larger = figures([sized(np.full(1000, 10.0))], "include", above=20.0, calibration=0.0)["area_above"]
    assert expanded(larger) < share / 8


def test_a_share_above_x_moves_with_the_pixel_size():
    sizes = np.linspace(10, 30, 101)
    found = figures([sized(sizes)], "include", above=20.0, calibration=0.03)["area_above"]
    areas = sizes**2
    low, high = (areas[sizes * (1 + e) > 20].sum() / areas.sum() for e in (-0.03, 0.03))
    assert found.per_pixel == pytest.approx((high - low) / 2)
    assert np.isnan(figures([sized(sizes)], "include", above=20.0)["area_above"].per_pixel)  # not known


def test_the_largest_varies_as_the_few_largest_lie_apart():
    steps = np.arange(1.0, 17)  # √16: the four largest exceed the fifth by 4, 3, 2 and 1
    largest = figures([sized(steps)], "include")["largest"]
    assert (largest.value, largest.freedom) == (16, 2)
    assert largest.sampling == pytest.approx(np.pi / np.sqrt(6) * 2.5)
    assert np.isnan(figures([sized(steps[:3])], "include")["largest"].sampling)  # too few to tell
    # the largest of eight fields varies as that of one does: its uncertainty is not divided by √8
    fields = [sized(steps * k) for k in range(1, 9)]
    assert figures(fields, "include")["largest"].sampling == pytest.approx(np.std(16 * np.arange(1, 9), ddof=1))


@pytest.mark.parametrize(("width", "crystals"), [(0.3, 50), (0.5, 200), (0.5, 20)])
def test_u_of_the_largest_holds_what_other_samples_have(width, crystals):
    samples = np.random.default_rng(3).lognormal(0, width, (300, crystals))
    found = [figures([sized(of)], "include")["largest"] for of in samples]
    usual = samples.max(axis=1).mean()
    held = [abs(f.value - usual) <= budget(f, None, EXACT, scaled=False).expanded for f in found]
    assert 0.9 <= np.mean(held) <= 0.99  # a bootstrap, whose resamples have no larger one, gives 0.64


def test_pores_count_nowhere():
    labels = discs((100, 300), [(50, 50, 20), (50, 150, 20), (50, 250, 45)])
    with_pore = figures([field(labels, 1.0, {3: "pore"})], "include")
    without = figures([field(np.where(labels == 3, 0, labels), 1.0)], "include")
    assert {k: f.value for k, f in with_pore.items()} == {k: f.value for k, f in without.items()}


@settings(max_examples=12)
@given(st.floats(0.01, 50))
def test_lengths_scale_with_the_pixel_and_g_shifts(um):
    labels = squares(200, 40, (13, 21))
    one, other = (figures([field(labels, u)], "exclude") for u in (1.0, um))
    for key, figure in other.items():
        power = DEFINITIONS[key].power
        if power == "G":
            assert figure.value == pytest.approx(one[key].value - G_PER_LENGTH * np.log(um), abs=5e-3)
        else:
            assert figure.value == pytest.approx(one[key].value * um**power)


def test_fields_with_and_without_pixel_size_are_told_in_px():
    labels = squares(200, 40, (13, 21))
    found = figures([field(labels, 0.5), field(labels)], "exclude")
    assert found["mean"].unit == "px"
    assert found["mean"].value == pytest.approx(2 * 40 / np.sqrt(np.pi))


@pytest.mark.parametrize("rule", ["exclude", "include"])
def test_a_field_without_crystals_beside_one_with_them(rule):
    full, empty = field(squares(400, 40, (13, 21)), 0.5), field(np.zeros((400, 400), int), 0.5)
    alone, both = figures([full], rule), figures([full, empty], rule)
    for key in ("mean", "d50_area", "aspect"):
        assert both[key].value == pytest.approx(alone[key].value)
    assert both["per_mm2"].value == pytest.approx(alone["per_mm2"].value / 2)


def test_nothing_counted_is_no_figure():
    assert figures([field(np.zeros((50, 50), int))], "exclude") == {}
    assert figures([field(np.ones((50, 50), int))], "exclude") == {}
    assert isinstance(field(np.ones((50, 50), int)).crystals, pd.DataFrame)


@pytest.mark.parametrize("um", [0.5, None])
def test_a_field_that_let_its_labels_go_gives_the_same_figures(um):
    labels = np.pad(squares(300, 30, (7, 11)), ((0, 0), (0, 40)))
    marks = {3: "pore"}
    kept, gone = field(labels, um, marks), field(labels, um, marks)
    gone.let_go()
    assert gone.labels is None
    assert "crystal_labels" not in vars(gone)
    assert figures([gone], "exclude") == figures([kept], "exclude")
    # with a field that has no pixel size: counted in px
    other = field(labels, None)
    assert figures([gone, other], "include") == figures([kept, other], "include")
