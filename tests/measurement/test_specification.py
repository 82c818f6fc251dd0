from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.figures import Figure
from crystalseg.measurement.specification import Limit, Verdict, judge, judge_all, overall
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


def unvalidated(value, standard, figure="mean", unit="µm", sources=("segmentation",)):
    """A figure with a known sampling uncertainty and sources of which nothing is known."""
    unknown = tuple(Component(source, None, "A", "") for source in sources)
    return Budget(Figure(figure, value, unit, standard, ""), (Component("sampling", standard, "A", ""), *unknown))


@pytest.mark.parametrize(
    ("limit", "budget", "outcome"),
    [
        # by hand: (value − U) ÷ 2 above the upper limit, or (value + U) · 2 below the lower one
        (Limit("mean", upper=1), unvalidated(35.0, 1.0), "fail"),
        (Limit("mean", upper=16.4), unvalidated(35.0, 1.0), "fail"),
        (Limit("mean", upper=16.6), unvalidated(35.0, 1.0), "not decidable"),
        (Limit("mean", 74.1), unvalidated(35.0, 1.0), "fail"),
        (Limit("mean", 73.9), unvalidated(35.0, 1.0), "not decidable"),
        (Limit("mean", 1, 1000), unvalidated(35.0, 1.0), "not decidable"),  # nothing passes on a guess
        # segmentation and pixel size: a factor of 3; its square for a number per area
        (Limit("mean", upper=10.9), unvalidated(35.0, 1.0, sources=("segmentation", "calibration")), "fail"),
        (Limit("mean", upper=11.1), unvalidated(35.0, 1.0, sources=("segmentation", "calibration")), "not decidable"),
        (Limit("per_mm2", upper=24), unvalidated(100.0, 1.0, "per_mm2", "1/mm²"), "fail"),
        (Limit("per_mm2", upper=25), unvalidated(100.0, 1.0, "per_mm2", "1/mm²"), "not decidable"),
        # a factor of 2 in length is 2 G
        (Limit("g_lines", upper=5.7), unvalidated(8.0, 0.1, "g_lines", ""), "fail"),
        (Limit("g_lines", upper=5.9), unvalidated(8.0, 0.1, "g_lines", ""), "not decidable"),
        # nothing bounds a ratio, nor what too few crystals leave open
        (Limit("span", upper=0.1), unvalidated(5.0, 0.1, "span", ""), "not decidable"),
        (Limit("mean", upper=1), unvalidated(35.0, 1.0, sources=("sampling",)), "not decidable"),
    ],
)
def test_what_nobody_knows_is_bounded_in_a_rejection(limit, budget, outcome):
    verdict = judge(limit, budget)
    assert verdict.outcome == outcome
    assert ("even if segmentation were off by a factor of 2" in verdict.why) == (outcome == "fail")


def test_simple_acceptance_by_hand():
    def simply(limit, budget, unit="µm"):
        return judge(limit, budget, unit, "simple")

    limit = Limit("mean", 50, 70)
    assert [simply(limit, of(v, 5.0)).outcome for v in (49.9, 50.0, 60.0, 70.0, 70.1)] == [
        "fail",
        "pass",
        "pass",
        "pass",
        "fail",
    ]
    assert simply(limit, of(60.0, 1.0)).rule == "simple"
    unknown = simply(limit, unvalidated(60.0, 1.0))
    assert unknown.outcome == "pass"
    assert unknown.why == "The figure lies within the limit. Its uncertainty from segmentation is not known."
    assert simply(limit, None).outcome == "not decidable"
    assert simply(limit, of(60.0, 1.0), "px").outcome == "not decidable"
    cut = replace(of(60.0, 1.0), figure=replace(of(60.0, 1.0).figure, at_least=75.0))
    assert simply(limit, cut).outcome == "fail"
    assert "at least 75.00 µm" in simply(limit, cut).why


def test_a_verdict_on_record_comes_back_with_its_rule():
    made = judge(Limit("mean", 50, 70), of(60.0, 1.0), "µm", "simple")
    assert Verdict.from_dict(made.to_dict()) == made
    old = {key: value for key, value in made.to_dict().items() if key != "rule"}
    assert Verdict.from_dict(old).rule == "guarded"  # the only one there was


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
