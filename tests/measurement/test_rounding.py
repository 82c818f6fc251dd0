import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.measurement.rounding import at_most, exact, significant, together

ANY = st.floats(1e-9, 1e12)


@pytest.mark.parametrize(
    ("value", "expanded", "shown"),
    [
        (36.2766, 1.234, ("36.3", "1.2")),
        (190_712, 5_321, ("190\u00a0700", "5300")),
        (0.09912, 0.0123, ("0.099", "0.012")),
        (9.996, 0.0996, ("10.00", "0.10")),
        (36.3, float("nan"), ("36.30", "–")),
        (36.3, 0.0, ("36.30", "0")),
        (5.04, 99.7, ("5", "100")),
        (-0.0001, 1.0, ("0.00", "1.0")),
    ],
)
def test_a_value_ends_where_its_uncertainty_ends(value, expanded, shown):
    assert together(value, expanded) == shown


@given(ANY, st.integers(1, 6))
def test_significant_digits_are_those_of_the_decimal_module(value, digits):
    text = significant(value, digits)
    assert re.fullmatch(r"[\d\u00a0.]+", text)
    read = Decimal(text.replace("\u00a0", ""))
    assert abs(read - Decimal(value)) <= Decimal("0.5000001") * Decimal(10) ** (Decimal(value).adjusted() + 1 - digits)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
def test_an_exact_number_reads_back_and_has_no_exponent(value):
    assert float(exact(value)) == value
    assert "e" not in exact(value)


def test_a_stated_number_keeps_its_digits_and_no_zeros():
    assert [at_most(v) for v in (0.5, 0.0488312, 12.0, 1234567.0, 0.00001)] == [
        "0.5",
        "0.048831",
        "12",
        "1234600",
        "0.00001",
    ]
