import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from crystalseg.errors import UserError
from crystalseg.segmentation.settings import SettingsError
from crystalseg.ui.drafts import numbers_of, text_of
from crystalseg.ui.numbers import read


@pytest.mark.parametrize(("text", "value"), [("0,05", 0.05), ("0.05", 0.05), (" 7 ", 7.0), ("1e-3", 0.001), ("", None)])
def test_a_comma_and_a_point_are_the_same(text, value):
    assert read(text, "Length") == value


@pytest.mark.parametrize("text", ["fünf", "1.234,5", "1,2,3", "nan", "inf", "1_000", "-1", "0x10"])
def test_what_is_no_number_is_refused_in_a_sentence(text):
    with pytest.raises(UserError, match=r"^Length: .*\.$"):
        read(text, "Length")


def test_the_field_keeps_what_was_typed_and_says_what_is_wrong_with_it():
    def page():
        import streamlit as st

        from crystalseg.ui.choices import number_field
        from crystalseg.ui.telling import telling

        with telling():
            st.metric("value", number_field("Length", "length", 0, 10))

    app = AppTest.from_function(page).run()
    for text, shown in (("0,05", "0.05"), ("11", "from 0 to 10"), ("3.5", "3.5")):
        app.text_input[0].set_value(text).run()
        assert shown in [*(m.value for m in app.metric), *(e.value for e in app.error)][0]
        assert app.text_input[0].value == text


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.5, 1, 2", (0.5, 1, 2)),
        ("0.5,1,2", (0.5, 1, 2)),
        ("1,2,4", (1, 2, 4)),
        ("0,5; 1; 2", (0.5, 1, 2)),
        ("0,5, 1, 2", (0.5, 1, 2)),
        ("0,5 1 2", (0.5, 1, 2)),
        ("0,5", (0.5,)),
        ("5 %, 20 %", (5, 20)),
        ("auto, 1", (None, 1)),
        ("", ()),
    ],
)
def test_lists_of_numbers_with_points_or_commas(text, numbers):
    assert numbers_of(text, "Resize factors") == numbers


@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=6).map(tuple))
def test_a_list_reads_back_as_it_was_written(numbers):
    assert numbers_of(text_of(numbers), "") == numbers


@pytest.mark.parametrize("text", ["0.5, two", "1.2,3,x", "0.5.1, 1"])
def test_a_list_with_something_else_is_refused(text):
    with pytest.raises(SettingsError, match="is not a number"):
        numbers_of(text, "Resize factors")
