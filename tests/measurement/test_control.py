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
    found = control_chart(np.concatenate((np.asarray(z, float), quiet)))
    assert abs(found.centre) < 0.02
    assert found.sigma == pytest.approx(1, abs=0.02)
    return found.signals[: len(z)]


def test_each_western_electric_rule_at_its_point():
    assert signals([0.5, 3.2, -0.5]) == ((), (1,), ())
    assert signals([2.3, 0.1, 2.3]) == ((), (), (2,))
    assert signals([2.3, 0.1, -2.3]) == ((), (), ())  # not on one side
    assert signals([1.4, 1.3, -0.2, 1.5, 1.6]) == ((), (), (), (), (3,))
    eight = signals([0.3, 0.4, 0.2, 0.3, 0.5, 0.3, 0.2, 0.4, 0.3])
    assert eight == ((),) * 7 + ((4,), (4,))


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
