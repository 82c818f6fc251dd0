import numpy as np
import pytest

from benchmarks.drawn_fields import sized
from crystalseg.measurement.assessment import assess
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.field import Field
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from tests.conftest import discs, squares


def field(labels, um=0.5, name="a"):
    return Field(labels, measure_crystals(labels, um), um, name)


def test_a_sample_of_squares_is_judged():
    # squares of 20 µm: diameter 22.57 µm, the same everywhere, so the uncertainty is the 2 % of calibration: U = 0.9
    limits = (Limit("mean", 20, 25), Limit("d90", upper=22), Limit("d50", 22))
    perfect = Validation("squares", "sima-plus", 3, {k: [0.0] * 3 for k in ("mean", "d90", "d50")})
    found = assess([field(squares(800, 40, (13, 21)))], "exclude", 0.02, perfect, limits)
    assert found.unit == "µm"
    assert found.budgets["mean"].expanded == pytest.approx(2 * 0.02 * 40 / np.sqrt(np.pi))
    assert [v.outcome for v in found.verdicts] == ["pass", "not decidable", "not decidable"]
    assert found.outcome == "not decidable"
    assert found.counted == 361
    assert not found.notes
    assert not assess([field(squares(800, 40, (13, 21)))], "exclude").verdicts


def test_without_validation_nothing_is_decided_and_the_reason_is_said():
    found = assess([field(squares(400, 40, (13, 21)))], "exclude", 0.01, None, (Limit("mean", 1, 1000),))
    assert found.outcome == "not decidable"
    assert "segmentation" in found.verdicts[0].why


def test_what_must_be_said_is_said():
    rng = np.random.default_rng(0)
    small = [(12 + 24 * r, 12 + 24 * c, rng.uniform(4, 6)) for r in range(40) for c in range(40)]
    huge = [(200, 200, 90), (700, 600, 80), (500, 200, 85), (300, 700, 90), (750, 250, 80)]
    # two populations side by side, so that no disc covers a part of another
    coarse = [(48 + 96 * r, 48 + 96 * c, rng.uniform(36, 44)) for r in range(10) for c in range(5)]
    fine = [disc for disc in small if disc[1] > 500]
    found = assess([field(discs((960, 960), [*fine, *coarse]))], "include")
    assert any("Duplex" in note and "No single grain-size number" in note for note in found.notes)
    one = assess([field(discs((960, 960), [*small, (480, 480, 30)]))], "include")
    assert any("ALA" in note for note in one.notes)
    few = assess([field(discs((960, 960), small[:9] + huge[:1]))], "include")
    assert any("A mean within 5 % (95 %) needs about" in note for note in few.notes)
    two, three = (assess([field(squares(800, 40, (13, 21)))] * n, "exclude").notes for n in (2, 3))
    assert (len(two), three) == (1, [])
    assert "three or more" in two[0]


def test_a_crystal_cut_by_the_border_breaks_limits_by_what_is_visible_of_it():
    # whole discs of 40 px and one of 200 px cut in half: its visible half has an ECD of 141 µm
    whole = [(y, x, 20) for y in range(100, 900, 60) for x in range(250, 900, 60)]
    labels = discs((1000, 1000), [*whole, (500, 0, 100)])
    known = Validation("discs", "sima-plus", 3, {key: [0.0] * 3 for key in ("largest", "area_above")})
    limits = (Limit("largest", upper=105), Limit("area_above", upper=0.05, above=105))
    found = assess([field(labels, 1.0)], "exclude", 0.0, known, limits)
    assert found.verdicts[0].outcome == "fail"
    assert found.verdicts[1].outcome in ("fail", "not decidable")
    assert all("visible parts of crystals cut by the border" in v.why for v in found.verdicts)
    assert any("cut by the border measures 141" in note for note in found.notes)
    inside = assess([field(discs((1000, 1000), whole), 1.0)], "exclude", 0.0, known, limits[:1])
    assert inside.outcome == "pass"


def test_a_share_is_not_decided_without_a_pixel_size_uncertainty():
    known = Validation("squares", "sima-plus", 3, {"area_above": [0.0] * 3})
    limit = (Limit("area_above", upper=0.5, above=30),)
    labels = squares(800, 40, (13, 21))
    assert assess([field(labels)], "exclude", 0.01, known, limit).outcome == "pass"
    undecided = assess([field(labels)], "exclude", None, known, limit).verdicts[0]
    assert (undecided.outcome, undecided.why) == ("not decidable", "The uncertainty from calibration is not known.")


def test_sixty_log_normal_crystals_do_not_pass_a_share_that_they_break():
    # 10 % of the area is in crystals above x, the limit is 5 %: about half of such samples have none above x
    rng = np.random.default_rng(3)
    x = 12 * np.exp(0.5 * (1.0 + 1.2816))  # by area a log-normal lies 2σ² higher
    known = Validation("drawn", "sima-plus", 3, {"area_above": [0.0] * 3})
    limit = (Limit("area_above", upper=0.05, above=x),)
    samples = [sized(rng.lognormal(np.log(12), 0.5, 60), k) for k in range(100)]
    outcomes = [assess([of], "include", 0.0, known, limit).outcome for of in samples]
    assert outcomes.count("pass") <= 3


def test_many_crystals_of_few_pixels_are_said():
    # 8 of the 40 whole squares are under 16 px wide (a side of 14 px: 15.8 px), whatever the pixel size is
    labels = np.zeros((400, 400), int)
    for k in range(40):
        side = 14 if k < 8 else 15
        labels[40 * (k // 8) + 10 :, 45 * (k % 8) + 10 :][:side, :side] = k + 1
    for um in (None, 0.5, 30.0):
        found = assess([field(labels, um)], "exclude")
        assert found.narrow == pytest.approx(0.2)
        assert any("20 % of the crystals are narrower than 16 px" in note for note in found.notes)
    larger = np.where(labels == 1, 0, labels)
    assert not any("narrower" in note for note in assess([field(larger)], "exclude").notes)


def test_fields_give_precisions():
    fields = [field(squares(400, side, (13, 11)), name=str(side)) for side in (20, 25, 30)]
    found = assess(fields, "exclude")
    assert found.fields == ("20", "25", "30")
    each = found.budgets["per_mm2"].figure.fields
    assert found.precisions["per_mm2"].mean == pytest.approx(np.mean(each))
    assert found.precisions["per_mm2"].fields == 3
    assert assess([field(np.zeros((60, 60), int))], "exclude") is None


def test_fields_of_which_one_has_no_pixel_size_are_judged_in_pixels():
    labels = squares(800, 40, (13, 21))
    without = assess([field(labels, None), field(labels, None, "b")], "exclude")
    mixed = assess([field(labels, 0.5), field(labels, None, "b")], "exclude")
    assert mixed.unit == "px"
    assert (mixed.outliers, mixed.populations, mixed.needed) == (without.outliers, without.populations, without.needed)
    assert mixed.needed == 0  # all of one size


def test_no_grain_size_number_is_given_where_crystals_do_not_fill_the_area():
    limits = (Limit("g_planimetric", lower=3),)
    grains = assess([field(squares(800, 40, (13, 21)))], "exclude", limits=limits)
    assert {"g_planimetric", "g_lines", "g_circles", "g_area"} <= grains.budgets.keys()
    apart = squares(800, 40, (13, 21)) * (np.indices((800, 800)).sum(axis=0) // 40 % 2)
    particles = field(np.where(apart > 0, apart, 0))
    found = assess([particles], "exclude", limits=limits)
    assert not [key for key in found.budgets if key.startswith("g_")]
    assert any("No grain-size number G is given" in note for note in found.notes)
    assert found.verdicts[0].why == (
        "The sample does not have this figure. G needs a pixel size and crystals that fill the area."
    )
    mixed = assess([field(squares(800, 40, (13, 21))), particles], "exclude")
    assert not [key for key in mixed.budgets if key.startswith("g_")]
