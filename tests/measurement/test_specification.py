from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.figures import Figure
from crystalseg.measurement.specification import Limit, judge, judge_all, overall
from crystalseg.measurement.uncertainty import Budget, Component


def of(value, standard, figure="mean"):
    return Budget(Figure(figure, value, "µm", standard, ""), (Component("sampling", standard, "A", ""),))


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (52.0, "pass"),
        (50.0, "not decidable"),
        (51.99, "not decidable"),
        (48.5, "not decidable"),
        (47.99, "fail"),
        (68.0, "pass"),
        (69.0, "not decidable"),
        (72.1, "fail"),
    ],
)
def test_the_guard_band_by_hand(value, outcome):
    # limits 50 and 70, U = 2·1: proven from 52 to 68, broken below 48 and above 72
    assert judge(Limit("mean", 50, 70), of(value, 1.0)).outcome == outcome


def test_without_a_known_uncertainty_nothing_is_decided():
    unknown = Budget(Figure("mean", 60.0, "µm", 1, ""), (Component("calibration", None, "B", ""),))
    verdict = judge(Limit("mean", 50, 70), unknown)
    assert verdict.outcome == "not decidable"
    assert "calibration" in verdict.why
    missing = judge(Limit("g_lines", 3), None)
    assert missing.outcome == "not decidable"
    assert np.isnan(missing.value)


def test_what_is_visible_of_a_cut_crystal_is_held_against_an_upper_limit():
    def seen(value, standard, at_least):
        made = of(value, standard, "largest")
        return replace(made, figure=replace(made.figure, at_least=at_least))

    broken = judge(Limit("largest", upper=105), seen(77.6, 12.2, 170.0))
    assert (broken.outcome, broken.value) == ("fail", 77.6)
    assert "at least 170.0 µm" in broken.why
    assert judge(Limit("largest", upper=105), seen(77.6, 12.2, 110.0)).outcome == "not decidable"
    assert judge(Limit("largest", upper=105), seen(77.6, 12.2, 70.0)).outcome == "pass"
    assert judge(Limit("largest", 50), seen(77.6, 12.2, 170.0)).outcome == "pass"
    assert judge(Limit("largest", 100), seen(77.6, 12.2, 170.0)).outcome == "not decidable"  # no help for a lower one


def test_pixels_are_not_judged_by_limits_in_micrometres():
    in_px = replace(of(60.0, 1.0), figure=replace(of(60.0, 1.0).figure, unit="px"))
    undecided = judge(Limit("mean", 50, 70), in_px, "px")
    assert (undecided.outcome, undecided.value, undecided.unit) == ("not decidable", 60.0, "px")
    assert undecided.why == "The limit is in µm, but the sizes are in px. Give the image's pixel size."
    assert judge(Limit("mean", 50, 70, unit="px"), in_px, "px").outcome == "pass"
    assert "Give the limit in µm" in judge(Limit("mean", 50, 70, unit="px"), of(60.0, 1.0)).why
    share = of(0.05, 0.01, "area_above")
    assert judge(Limit("area_above", None, 0.1, 200), share, "px").outcome == "not decidable"
    assert judge(Limit("area_above", None, 0.1, 200), share, "µm").outcome == "pass"
    assert judge(Limit("span", None, 2), of(1.0, 0.1, "span"), "px").outcome == "pass"


def test_one_broken_limit_fails_the_sample():
    limits = [Limit("mean", 50, 70), Limit("d90", upper=100)]
    both = {"mean": of(60, 1), "d90": of(90, 1, "d90")}
    assert overall(judge_all(limits, both)) == "pass"
    assert overall(judge_all(limits, both | {"d90": of(99.5, 1, "d90")})) == "not decidable"
    assert overall(judge_all(limits, {"mean": of(70.5, 1), "d90": of(120, 1, "d90")})) == "fail"
    assert overall([]) is None


@given(st.floats(1, 100), st.floats(0, 20), st.floats(0, 20))
def test_more_uncertainty_never_turns_undecided_into_decided(value, small, more):
    limit = Limit("mean", 20, 60)
    sharp, blunt = judge(limit, of(value, small)).outcome, judge(limit, of(value, small + more)).outcome
    assert blunt in (sharp, "not decidable")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("size", 1), "no figure 'size'"),
        (("mean",), "a lower or an upper"),
        (("mean", 5, 3), "above the upper"),
        (("area_above", 0, 0.1), "Give x for the area share above x"),
        (("mean", 1, 2, 3), "Give x for the area share above x"),
        (("mean", np.inf), "lower or an"),
        (("mean", 1, 2, None, "mm"), "must be µm or px"),
    ],
)
def test_a_limit_that_means_nothing_is_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        Limit(*arguments)


def test_a_limit_in_words():
    assert Limit("area_above", None, 0.1, 200).words() == "area share of crystals above 200 µm ≤ 0.1"
    assert Limit("d50", 20, 30, unit="px").words() == "20 px ≤ D50 by number ≤ 30 px"
    assert Limit("d50", 20).words() == "20 µm ≤ D50 by number"
    assert Limit("g_lines", 7, 8).words() == "7 ≤ G, intercept, lines ≤ 8"
