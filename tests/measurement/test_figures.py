import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.coverage import EXACT, drawn
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import summarise
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import DEFINITIONS, FEW_FIELDS, G_PER_LENGTH, figures, needed_crystals
from crystalseg.measurement.grain_size import g_of_count, g_of_intercept
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
    assert found["per_mm2"].sampling == pytest.approx(2500 / 20)  # √400 of 400
    assert found["g_planimetric"].value == pytest.approx(g_of_count(2500))
    assert found["g_planimetric"].sampling == pytest.approx(g_of_count(2625) - g_of_count(2500), rel=0.03)
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
    each = np.array(mean.fields)
    assert mean.sampling == pytest.approx(each.std(ddof=1) / np.sqrt(3))
    counts = [small.max(), large.max(), small.max()]
    assert mean.value == pytest.approx(np.average(each, weights=counts))
    assert "3 fields" in mean.how
    assert mean.freedom == 2
    assert found["g_planimetric"].freedom == found["per_mm2"].freedom == 2
    assert found["g_lines"].sampling == pytest.approx(
        G_PER_LENGTH * found["intercept_lines"].sampling / found["intercept_lines"].value
    )
    # (400/20)² twice and (400/40)² in three fields of 0.16 mm²
    assert found["g_planimetric"].value == pytest.approx(g_of_count(900 / (3 * 0.16)))


def test_fields_that_agree_by_chance_are_no_more_certain_than_their_crystals_allow():
    labels = discs((300, 300), [(50, 50, 10), (50, 200, 25), (200, 60, 40), (200, 220, 18)])
    alone = figures([field(labels)], "include")["mean"]
    twice = figures([field(labels), field(labels[::-1])], "include")["mean"]
    assert np.ptp(twice.fields) == 0
    assert twice.sampling == pytest.approx(alone.sampling / np.sqrt(2), rel=0.15)
    assert (twice.how, twice.freedom) == ("bootstrap over 8 crystals", 7)
    many = figures([field(labels)] * FEW_FIELDS, "include")["mean"]
    assert many.freedom == FEW_FIELDS - 1


def test_a_bootstrap_agrees_with_the_textbook():
    rng = np.random.default_rng(0)
    circles = [(25 + 50 * r, 25 + 50 * c, rng.uniform(8, 22)) for r in range(16) for c in range(16)]
    labels = discs((800, 800), circles)
    crystals = measure_crystals(labels)
    found = figures([Field(labels, crystals, None)], "include")
    sizes = crystals["equivalent_diameter_px"]
    assert found["mean"].value == pytest.approx(sizes.mean())
    assert found["mean"].sampling == pytest.approx(sizes.std() / np.sqrt(len(sizes)), rel=0.1)
    quick = figures([Field(labels, crystals, None)], "include", resamples=0)
    assert {key: figure.value for key, figure in quick.items()} == {key: figure.value for key, figure in found.items()}
    assert np.isnan(quick["mean"].sampling)
    assert needed_crystals(sizes.to_numpy(), np.ones(len(sizes))) == pytest.approx(
        (1.96 * sizes.std(ddof=0) / (0.05 * sizes.mean())) ** 2, abs=1
    )
    summary = summarise(crystals, labels.shape, "include")
    assert (found["d10"].value, found["d50"].value, found["d90"].value) == pytest.approx(summary.number)
    assert (found["d10_area"].value, found["d50_area"].value, found["d90_area"].value) == pytest.approx(summary.area)


def test_the_largest_varies_as_the_few_largest_lie_apart():
    steps = np.arange(1.0, 17)  # √16: the four largest exceed the fifth by 4, 3, 2 and 1
    largest = figures([drawn(steps)], "include", resamples=0)["largest"]
    assert (largest.value, largest.freedom) == (16, 2)
    assert largest.sampling == pytest.approx(np.pi / np.sqrt(6) * 2.5)
    assert np.isnan(figures([drawn(steps[:3])], "include")["largest"].sampling)  # too few to tell
    # the largest of eight fields varies as that of one does: its uncertainty is not divided by √8
    fields = [drawn(steps * k) for k in range(1, 9)]
    assert figures(fields, "include")["largest"].sampling == pytest.approx(np.std(16 * np.arange(1, 9), ddof=1))


@pytest.mark.parametrize(("width", "crystals"), [(0.3, 50), (0.5, 200), (0.5, 20)])
def test_u_of_the_largest_holds_what_other_samples_have(width, crystals):
    samples = np.random.default_rng(3).lognormal(0, width, (400, crystals))
    found = [figures([drawn(of)], "include", resamples=0)["largest"] for of in samples]
    usual = samples.max(axis=1).mean()
    held = [abs(f.value - usual) <= budget(f, None, EXACT, scaled=False).expanded for f in found]
    assert 0.9 <= np.mean(held) <= 0.99  # a bootstrap gave 0.64 (docs/reliability.md)


def test_pores_count_nowhere():
    labels = discs((100, 300), [(50, 50, 20), (50, 150, 20), (50, 250, 45)])
    with_pore = figures([field(labels, 1.0, {3: "pore"})], "include")
    without = figures([field(np.where(labels == 3, 0, labels), 1.0)], "include")
    assert {k: f.value for k, f in with_pore.items()} == {k: f.value for k, f in without.items()}


@settings(max_examples=12)
@given(st.floats(0.01, 50))
def test_lengths_scale_with_the_pixel_and_g_shifts(um):
    labels = squares(200, 40, (13, 21))
    one, other = (figures([field(labels, u)], "exclude", resamples=0) for u in (1.0, um))
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
