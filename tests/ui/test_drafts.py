"""A form that is opened and saved unchanged changes nothing, to the last digit."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as some
from streamlit.testing.v1 import AppTest

from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.specification import RULES, UNITS, Limit
from crystalseg.record import models as on_record
from crystalseg.record.database import open_database
from crystalseg.record.profiles import SECTIONS, Profile, find, save
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import FLOW_NETWORKS, METHODS
from crystalseg.segmentation.scales import FACTORS, Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError
from crystalseg.ui.drafts import ProfileDraft, SettingsDraft, numbers_of, text_of
from tests.conftest import labelled

NAMES = some.text("abcXYZ 09.-_äß", min_size=1, max_size=20)
MODELS = some.from_regex(r"[A-Za-z]\w{0,8}:[1-9]", fullmatch=True)


def floats(low, high):
    return some.floats(low, high, allow_nan=False, allow_subnormal=False) | some.integers(int(low), int(high))


@some.composite
def methods(draw):
    name = draw(some.sampled_from(list(METHODS)))
    return (
        f"{name}:{draw(some.sampled_from(['cyto3', '/models/our network', 'C:/a:b', ' x ']))}"
        if METHODS[name].model
        else name
    )


@some.composite
def scales(draw):
    given = sorted(draw(some.sets(some.floats(0.01, 4), max_size=7)))
    factors = (*([None] if draw(some.booleans()) else []), *given)
    levels = sorted(draw(some.sets(some.floats(1e-3, 99.9), min_size=7, max_size=7)), reverse=True)
    number = len(factors or FACTORS)
    thresholds = (100.0, *levels[: number - 1]) if draw(some.booleans()) else ()
    return Scales(factors, thresholds, draw(floats(0, 0.2)))


SETTINGS = some.builds(
    Settings,
    methods(),
    scales(),
    some.builds(Instances, floats(-10, 10), some.integers(1, 10**8), floats(0, 1), some.none() | floats(0, 3)),
    some.builds(
        Measuring,
        some.sampled_from(["exclude", "include"]),
        some.sampled_from(["", "round ones above 20 µm", "feret_max > 12.3456789012 px or not pore"]),
    ),
    some.sampled_from(list(FLOW_NETWORKS)) | MODELS.map("folded:{}".format),
    some.sampled_from(list(EFFORTS)),
)


@some.composite
def limits(draw):
    figure = draw(some.sampled_from(list(DEFINITIONS)))
    numbers = some.floats(0, 1e6) | some.integers(0, 10**6)
    low, high = sorted((draw(numbers), draw(numbers)))
    kept = draw(some.sampled_from([(low, high), (low, None), (None, high)]))
    return Limit(figure, *kept, 12.3456789 if figure == "area_above" else None, draw(some.sampled_from(UNITS)))


PROFILES = some.builds(
    Profile,
    NAMES.filter(str.strip),
    some.text(max_size=9),
    some.booleans(),
    some.sampled_from(["", "a kind that nobody validated"]),
    SETTINGS,
    some.lists(limits(), max_size=4).map(tuple),
    some.lists(some.sampled_from(list(SECTIONS)), max_size=14).map(tuple),
    some.booleans(),
    some.none() | some.integers(1, 10**6),
    some.sampled_from(list(RULES)),
)


@given(SETTINGS)
def test_settings_that_nobody_changed_are_the_same(settings):
    draft = SettingsDraft(settings)
    assert draft.settings().to_json() == settings.to_json()
    for name in draft.fields():  # what a widget would show, written back
        draft.put(name, draft.shown(name))
    assert not draft.changed
    assert draft.settings().to_json() == settings.to_json()


@given(SETTINGS, SETTINGS)
def test_a_field_that_is_changed_changes_nothing_else(first, other):
    changed = {
        "network": replace(first, network=other.network),
        "effort": replace(first, effort=other.effort),
        "border rule": replace(first, measuring=Measuring(other.measuring.border_rule, first.measuring.only)),
        "only": replace(first, measuring=Measuring(first.measuring.border_rule, other.measuring.only)),
        "min area": replace(first, instances=replace(first.instances, min_area=other.instances.min_area)),
    }
    for name, wanted in changed.items():
        draft = SettingsDraft(first)
        draft.put(name, SettingsDraft(other).shown(name))
        assert draft.settings() == wanted
        draft.put(name, SettingsDraft(first).shown(name))  # and back
        assert draft.settings().to_json() == first.to_json()


@given(SETTINGS, SETTINGS)
def test_a_method_and_its_model_are_changed_and_changed_back(first, other):
    draft, wanted = SettingsDraft(first), SettingsDraft(other)
    for name in ("method", "own model"):
        draft.put(name, wanted.shown(name))
    method = other.method.partition(":")
    assert draft.method() == (f"{method[0]}:{method[2].strip()}" if method[2] and draft.changed else draft.method())
    for name in ("method", "own model"):
        draft.put(name, SettingsDraft(first).shown(name))
    assert draft.settings() == first


@given(some.lists(some.none() | some.floats(0.01, 4), max_size=8).map(tuple))
def test_numbers_are_written_with_all_their_digits(numbers):
    assert numbers_of(text_of(numbers), "Numbers") == numbers


def test_a_semicolon_makes_a_comma_a_decimal_one():
    assert numbers_of("auto; 0,5; 1", "Numbers") == (None, 0.5, 1.0)
    with pytest.raises(SettingsError, match="Numbers: 'x' is not a number"):
        numbers_of("0.5, x", "Numbers")


def test_thresholds_that_a_method_does_not_show_do_not_stand_in_the_way_of_its_factors():
    draft = SettingsDraft(Settings("sima-plus", Scales((0.25, 0.5, 1), (100, 50, 20))))
    draft.put("factors", "0.5, 1")
    assert draft.settings().scales == Scales((0.5, 1))
    draft.put("method", "sima")
    with pytest.raises(SettingsError, match="2 resize factors need as many size thresholds"):
        draft.settings()


@given(PROFILES)
def test_a_profile_that_nobody_changed_is_the_same(profile):
    draft = ProfileDraft(profile)
    for name in draft.fields():
        draft.put(name, draft.shown(name))
    for name in draft.settings.fields():
        draft.settings.put(name, draft.settings.shown(name))
    assert draft.profile().to_json() == profile.to_json()


def test_the_form_has_a_field_for_all_of_a_profile():
    assert {name.replace(" ", "_") for name in ProfileDraft(Profile("a")).fields()} | {"settings"} == {
        f.name for f in fields(Profile)
    }


EXACT = Settings(
    "sima",
    Scales((None, 0.123456789, 1), (100, 33.333333333333336, 1.0000000000000002), 0.012345678901),
    Instances(-7.123456789012345, 87_654_321, 0.1 + 0.2, 2.9999999999999996),
    Measuring("include", "feret_max > 12.3456789 px"),
    effort="quick",
)
GONE = "folded:gone:3"
KEPT = {
    "digits": EXACT,
    "hub": Settings("hub:/models/our network", network="cellpose"),
    "package": Settings("cellpose-package:cyto3", instances=Instances(flow_threshold=None)),
    "prompted": Settings("hub-prompted:/models/sam"),
    "gone": Settings(network=GONE),
    "gone, of a method without a choice of it": Settings("sima", network="cellpose:gone:3"),
    "retired": Settings(network="folded:steel:1"),
    "flow": Settings("cellpose-original", instances=Instances(flow_threshold=1.23456789)),
}
WORDS = {
    "gone": "not on record here",
    "gone, of a method without a choice of it": "not on record here",
    "retired": "is retired",
    "hub": "There is nothing at",
    "prompted": "There is nothing at",
}


@pytest.mark.parametrize("name", KEPT)
def test_the_page_saves_a_profile_unchanged(own_queue, name):
    engine = open_database()
    if name == "retired":
        on_record.register(engine, on_record.Model("steel", 0, "folded", "steel", "0" * 64))
        on_record.retire(engine, "steel:1")
    profile = Profile(
        f" {name}",
        "powder",
        kind="a kind that nobody validated",
        settings=KEPT[name],
        limits=(Limit("mean", 0.123456789012345, 20), Limit("area_above", upper=0.1 + 0.2, above=12.3456789)),
        decision_rule="guarded",
        sections=("figures", "overlay", "figures"),
        keep_images=99_999,
    )
    save(engine, profile)
    app = AppTest.from_file("../../pages/profiles.py", default_timeout=60)
    app.session_state["entered"] = True
    app.run()
    assert not app.exception
    assert not app.error
    said = [warning.value for warning in app.warning]
    assert any(WORDS[name] in words for words in said) if name in WORDS else not said
    labelled(app.button, "Save the profile").click().run()
    assert not app.exception
    assert not app.error
    assert find(engine, profile.name).to_json() == profile.to_json()
    # what is changed is changed, and nothing else
    labelled(app.text_input, "Product").set_value("sand").run()
    labelled(app.button, "Save the profile").click().run()
    assert find(engine, profile.name).to_json() == replace(profile, product="sand").to_json()
