"""Keys apart from words: what is on record is compared and looked up by canonical JSON."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.segmentation.canonical import canonical, number_words
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from crystalseg.segmentation.version_1 import DEFAULT_SETTINGS, conditions_text, instances_text

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def test_the_texts_of_version_1_are_frozen():
    """They are on record: a letter changed here is a correction or a validation that is not found again."""
    assert instances_text(Instances()) == "h 0, from 15 px², confidence from 0.25, flow error to 0.4"
    odd = Instances(-1.25, 200, 0.1234567, None)
    assert instances_text(odd) == "h -1.25, from 200 px², confidence from 0.123457"
    assert conditions_text(Settings()) == "h 0, from 15 px², confidence from 0.25, border exclude"
    assert conditions_text(Settings("sima")) == "h 0, from 15 px², flow to 0.4, border exclude"
    scaled = Settings("sima", Scales((None, 0.5, 1.0)), odd, Measuring("include"))
    assert (
        conditions_text(scaled)
        == "h -1.25, from 200 px², confidence from 0.123457, border include, scales by size 0.5 1"
    )
    assert DEFAULT_SETTINGS == (
        "Settings(method='sima-plus', scales=Scales(factors=(), thresholds=(), tile_relevance=0.02), "
        "instances=Instances(foreground_threshold=0.0, min_area=15, min_confidence=0.25, flow_threshold=0.4), "
        "measuring=Measuring(border_rule='exclude', only=''), network='folded', effort='thorough')"
    )


def test_methods_are_named_on_record_by_ids():
    assert [Settings(m).full_method for m in ("sima", "watershed", "cellpose-original")] == [
        "sima",
        "watershed",
        "cellpose-original",
    ]
    assert Settings().full_method == "sima-plus@folded"
    assert Settings(effort="quick").full_method == "sima-plus@folded/quick"
    assert Settings(network="folded:MgO:2").full_method == "sima-plus@folded:MgO:2"


def test_keys_are_these():
    assert canonical(Instances()) == (
        '{"flow_threshold":0.4,"foreground_threshold":0,"holes":"filled","min_area":15,"min_confidence":0.25}'
    )
    assert Settings().conditions.key == (
        '{"border_rule":"exclude","factors":[],"foreground_threshold":0,"min_area":15,"min_confidence":0.25}'
    )
    assert Settings("sima").conditions.key == (
        '{"border_rule":"exclude","factors":[],"flow_threshold":0.4,"foreground_threshold":0,"min_area":15,'
        '"size_thresholds":[100,50,25,12.5],"tile_relevance":0.02}'
    )


@given(PLAIN)
def test_canonical_json_is_one_text_a_value(value):
    text = canonical(value)
    assert canonical(json.loads(text)) == text
    assert json.loads(text) == value


def test_equal_values_are_equal_keys_however_they_are_typed():
    assert canonical(Instances(foreground_threshold=0)) == canonical(Instances(foreground_threshold=-0.0))
    assert canonical({"b": 1, "a": (1.0, 2.5)}) == canonical({"a": [1, 2.5], "b": 1.0})
    with pytest.raises(ValueError, match="Out of range"):
        canonical(math.nan)


@given(st.floats(0, 1), st.integers(1, 50))
def test_two_thresholds_are_two_keys_to_the_last_digit(confidence, steps):
    other = confidence
    for _ in range(steps):
        other = math.nextafter(other, 0.5)
    one, two = (Settings(instances=Instances(min_confidence=c)) for c in (confidence, other))
    assert (one == two) == (canonical(one) == canonical(two)) == one.conditions.same(two.conditions)
    assert (one == two) == (one.instances.words == two.instances.words)


def test_two_that_differ_in_the_eighth_digit_had_one_text():
    one, other = (Settings(instances=Instances(min_confidence=c)) for c in (0.25, 0.25000001))
    assert conditions_text(one) == conditions_text(other)
    assert not one.conditions.same(other.conditions)
    assert "0.25000001" in other.conditions.told_from(one.conditions)


def test_what_decides_with_attention_maps_is_among_the_conditions():
    usual, finer = Settings("sima"), Settings("sima", Scales(tile_relevance=0.05))
    assert not usual.conditions.same(finer.conditions)
    # SiMA+ has no attention maps
    assert Settings().conditions.same(Settings(scales=Scales(tile_relevance=0.05)).conditions)


def test_words_are_for_people():
    assert Instances().words == "h 0, from 15 px², confidence from 0.25, flow error to 0.4"
    assert [number_words(n) for n in (0.0, 2.0, 0.1 + 0.2)] == ["0", "2", "0.30000000000000004"]
