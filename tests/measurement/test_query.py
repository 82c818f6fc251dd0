import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.measurement import measure
from crystalseg.measurement.query import LEFT_OUT, Filter, QueryError, leave_out, parse
from crystalseg.measurement.rounding import exact
from tests.conftest import discs

# three discs of 10, 20 and 30 px, a bar, and a disc at the border
LABELS = discs((200, 300), [(40, 40, 5), (40, 100, 10), (100, 100, 15)])
LABELS[150:160, 40:140] = 4
LABELS[90:110, 290:300] = 5
CONFIDENCE = np.array([0.9, 0.4, 0.95, 0.7, 0.6], np.float32)
IMAGE = np.where(LABELS == 1, 220, np.where(LABELS > 0, 90, 20)).astype(np.uint8)[..., None].repeat(3, axis=2)


def ids(query, um=0.5, marks=None):
    table = leave_out(measure_crystals(LABELS, um, CONFIDENCE, marks), query, LABELS, IMAGE)
    return table.loc[table["kind"] == "crystal", "id"].tolist()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", ""),
        (
            "only the bright round ones above 20 µm",
            "brightness > p67 and circularity >= 0.92 and equivalent_diameter > 20 µm",
        ),
        ("nur runde Kristalle über 20 µm", "circularity >= 0.92 and equivalent_diameter > 20 µm"),
        ("leave out pores and small ones", "not pore and not equivalent_diameter < p33"),
        ("leave out small dark ones", "not (equivalent_diameter < p33 and brightness < p33)"),
        ("ohne kleine und unsichere", "not equivalent_diameter < p33 and not confidence < 0.5"),
        ("Körner am Rand weglassen", "not touches_border"),
        ("only round ones and without dark ones", "circularity >= 0.92 and not brightness < p33"),
        ("size between 5 and 10 µm", "equivalent_diameter >= 5 µm and equivalent_diameter <= 10 µm"),
        ("Durchmesser mindestens 3,5 nm", "equivalent_diameter >= 0.0035 µm"),
        ("area > 0.2 mm²", "area > 200000 µm²"),
        ("confidence above 80 %", "confidence > 0.8"),
        ("round or elongated and large", "circularity >= 0.92 or aspect_ratio < 0.5 and equivalent_diameter > p67"),
        (
            "(round or elongated) and large",
            "(circularity >= 0.92 or aspect_ratio < 0.5) and equivalent_diameter > p67",
        ),
        ("größer als 20 px", "equivalent_diameter > 20 px"),
        ("feret_max at most 3 microns", "feret_max <= 3 µm"),
    ],
)
def test_words_become_the_filter_they_mean(words, text):
    assert parse(words).text == text
    assert parse(text) == parse(words)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5]),
        ("round", [1, 2, 3]),
        ("elongated", [4, 5]),
        ("above 15 px", [2, 3, 4, 5]),
        ("below 7.5 µm", [1]),
        ("round ones above 15 px", [2, 3]),
        ("bright", [1]),
        ("at the border", [5]),
        ("leave out those at the border and doubtful ones", [1, 3, 4]),
        ("round and not doubtful", [1, 3]),
        ("elongated or above 25 px", [3, 4, 5]),
    ],
)
def test_crystals_are_selected_by_what_they_are(query, expected):
    assert ids(query) == expected


def test_marks_stay_and_can_be_asked_for():
    assert ids("leave out pores", marks={2: "pore"}) == [1, 3, 4, 5]
    table = leave_out(measure_crystals(LABELS, None, None, {2: "pore"}), "round", LABELS, None)
    assert table["kind"].tolist() == ["crystal", "pore", "crystal", LEFT_OUT, LEFT_OUT]


def test_only_the_selected_are_summed_up():
    whole, some = measure(LABELS, 1.0, "include"), measure(LABELS, 1.0, "include", only="round")
    assert (whole.summary.counted, some.summary.counted) == (5, 3)
    sizes = some.crystals["equivalent_diameter_um"][:3]
    assert some.summary.average.value == pytest.approx(sizes.mean())
    assert measure(LABELS, 1.0, "include", only="round above 1 mm").summary is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("leave out pores and twins", "cannot be understood from “twins” on"),
        ("above", "its end is missing"),
        ("above 20", "Give a unit with equivalent_diameter 20: px, nm, µm, mm"),
        ("area above 20 µm", "µm²"),
        ("circularity above 3 px", "circularity has no unit"),
        ("round; drop table", "cannot be understood"),
        ("20 µm", "cannot be understood from “20” on"),
        ("(round", "its end is missing"),
        (f"above {'9' * 400} px", "too small or too large"),
        (f"{'not (' * 500}round{')' * 500}", "nested too deeply"),
        (" or ".join(["round"] * 200), "longer than 1000 characters"),
        (" ".join(["round"] * 100), "longer than 1000 characters"),  # as a filter
    ],
)
def test_what_cannot_be_read_is_a_sentence(query, words):
    with pytest.raises(QueryError, match=words.replace("(", "\\(")):
        parse(query)


def test_what_the_image_cannot_answer_is_a_sentence():
    with pytest.raises(QueryError, match="needs a pixel size"):
        ids("above 20 µm", um=None)
    with pytest.raises(QueryError, match="The method gives no"):
        leave_out(measure_crystals(LABELS), "sure", LABELS, IMAGE)
    with pytest.raises(QueryError, match="image, which was not kept"):
        leave_out(measure_crystals(LABELS), "bright", LABELS, None)


TERMS = st.sampled_from(
    ["round", "elongated", "doubtful", "touches_border", "equivalent_diameter > 15 px", "aspect_ratio <= 0.7", "small"]
)
FORMULAS = st.recursive(
    TERMS,
    lambda inner: (
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda parts: f"({' '.join(parts)})")
        | inner.map(lambda part: f"not ({part})")
    ),
    max_leaves=5,
)


@given(FORMULAS)
def test_the_filter_s_text_means_the_same(formula):
    first = parse(formula)
    again = parse(first.text)
    assert again.text == first.text
    table = measure_crystals(LABELS, None, CONFIDENCE)
    np.testing.assert_array_equal(first.select(table), again.select(table))
    # against Python's own reading of the formula
    known = {term: parse(term).select(table) for term in ("round", "elongated", "doubtful", "touches_border", "small")}
    known |= {
        "equivalent_diameter > 15 px": (table["equivalent_diameter_px"] > 15).to_numpy(),
        "aspect_ratio <= 0.7": (table["aspect_ratio"] <= 0.7).to_numpy(),
    }
    for k in range(len(table)):
        said = formula
        for term, values in known.items():
            said = said.replace(term, str(bool(values[k])))
        assert first.select(table)[k] == eval(said)


@given(
    st.sampled_from(["equivalent_diameter", "area", "circularity"]),
    st.sampled_from([">", "below", "at least"]),
    st.integers(0, 10**12).map(str) | st.floats(1e-6, 1e12).map(exact),
    st.sampled_from(["nm", "µm", "mm", "px"]),
)
def test_any_number_reads_back_as_it_is_written(column, operator, number, unit):
    unit = {"area": f"{unit}²", "circularity": ""}.get(column, unit)
    first = parse(f"{column} {operator} {number} {unit}")
    assert parse(first.text).text == first.text
    assert "e" not in first.text.removeprefix(column)


def test_a_large_area_is_written_without_exponent():
    assert parse("area below 20000 mm²").text == "area < 20000000000 µm²"


def test_no_query_selects_all():
    assert Filter().select(pd.DataFrame({"id": [1, 2]})).all()


def test_what_users_type_is_not_kept_for_ever():
    for number in range(400):
        parse(f"area > {number} px²")
    assert parse.cache_info().currsize <= 256
