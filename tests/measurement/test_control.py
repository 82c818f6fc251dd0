import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.control import control_chart


def test_limits_by_hand():
    # ranges 2, 1, 3: mean 2, σ = 2/1.128
    chart = control_chart([10, 12, 11, 14])
    assert chart.ranges.tolist() == [2, 1, 3]
    assert chart.centre == 11.75
    assert chart.sigma == pytest.approx(2 / 1.128)
    assert chart.limits == pytest.approx((11.75 - 6 / 1.128, 11.75 + 6 / 1.128))
    assert chart.range_limit == pytest.approx(6.534)


def signals(z):
    """The rules of a series whose centre and σ are forced to 0 and 1 by a long quiet zigzag after it."""
    quiet = np.tile([0.564, -0.564], 4000)
    found = control_chart(np.concatenate((np.asarray(z, float), quiet)), len(z) + len(quiet))
    assert abs(found.centre) < 0.02
    assert found.sigma == pytest.approx(1, abs=0.02)
    return tuple(tuple(rule for rule in of if rule < 5) for of in found.signals[: len(z)])


def test_each_western_electric_rule_at_its_point():
    assert signals([0.5, 3.2, -0.5]) == ((), (1,), ())
    assert signals([2.3, 0.1, 2.3]) == ((), (), (2,))
    assert signals([2.3, 0.1, -2.3]) == ((), (), ())  # not on one side
    assert signals([1.4, 1.3, -0.2, 1.5, 1.6]) == ((), (), (), (), (3,))
    eight = signals([0.3, 0.4, 0.2, 0.3, 0.5, 0.3, 0.2, 0.4, 0.3])
    assert eight == ((),) * 7 + ((4,), (4,))


def test_a_moving_range_above_its_limit_is_a_signal():
    # ranges 1 but for one of 6: mean 24/19, limit 3.267 · 24/19 = 4.13
    x = [0, 1] * 5 + [7, 8] * 5
    chart = control_chart(x, len(x))
    assert chart.range_limit == pytest.approx(3.267 * (18 + 6) / 19)
    assert [k for k, rules in enumerate(chart.signals) if 5 in rules] == [10]


def test_limits_come_from_the_first_points_and_judge_those_that_follow():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 60)
    chart = control_chart(x)
    assert chart.base == 20
    assert chart.centre == pytest.approx(x[:20].mean())
    assert "first 20 points" in chart.notes[0]
    moved = control_chart(np.append(x, np.full(10, 8.0)))
    assert moved.limits == chart.limits  # what is judged does not move them
    assert all(1 in rules for rules in moved.signals[60:])
    assert "points set the limits by which they are judged" in control_chart(x[:20]).notes[0]
    with pytest.raises(UserError, match="limits of a control chart"):
        control_chart(x, 1)


def test_points_that_are_alike_get_a_warning_and_others_seldom():
    rng = np.random.default_rng(1)
    warned = {0.0: 0, 0.6: 0}
    for like in warned:
        for _ in range(100):
            x = np.zeros(60)
            for k in range(1, 60):
                x[k] = like * x[k - 1] + rng.normal()
            warned[like] += len(control_chart(x).notes) > 1
    assert warned[0.0] <= 7
    assert warned[0.6] >= 95


def test_a_constant_has_no_signal():
    chart = control_chart([5, 5, 5, 5, 5, 5, 5, 5, 5])
    assert chart.sigma == 0
    assert set(chart.signals) == {()}
    with pytest.raises(UserError, match="two or more"):
        control_chart([5])


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=40), st.floats(0.1, 10), st.floats(-50, 50))
def test_unit_and_origin_do_not_matter(values, factor, shift):
    x = np.round(values, 3)
    one, other = control_chart(x), control_chart(x * factor + shift)
    assert other.sigma == pytest.approx(one.sigma * factor, abs=1e-6)
    clear = one.sigma > 0 and all(abs(abs(v - one.centre) / one.sigma - k) > 1e-6 for v in x for k in (0, 1, 2, 3))
    if clear:
        assert one.signals == other.signals
