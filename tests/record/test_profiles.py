import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.specification import RULES, Limit
from crystalseg.record import ledger
from crystalseg.record.database import open_database
from crystalseg.record.profiles import SECTIONS, Profile, as_of, default_of, find, in_use, profiles, remove, save
from crystalseg.segmentation.methods import NAMED
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings, SettingsError

CORUNDUM = Profile(
    "corundum 80",
    "brick 80",
    True,
    "powder",
    Settings("sima", Scales((None, 0.5))),
    (Limit("mean", 50, 80), Limit("area_above", None, 0.1, 200.0)),
    ("verdict", "figures"),
    decision_rule="guarded",
)
LIMITS = st.builds(
    lambda key, low, wide: Limit(key, low, low + wide, 100.0 if key == "area_above" else None),
    st.sampled_from(list(DEFINITIONS)),
    st.floats(0, 50),
    st.floats(0, 50),
)


@given(
    st.builds(
        Profile,
        st.text("abc 12", min_size=1, max_size=20).filter(str.strip),
        st.text(max_size=20),
        st.booleans(),
        st.text(max_size=10),
        st.builds(
            Settings,
            st.sampled_from(NAMED),
            instances=st.builds(Instances, st.floats(-3, 3), st.integers(1, 500), st.floats(0, 1)),
        ),
        st.lists(LIMITS, max_size=4).map(tuple),
        st.lists(st.sampled_from(list(SECTIONS)), unique=True).map(tuple),
        decision_rule=st.sampled_from(list(RULES)),
    )
)
def test_a_profile_comes_back_from_its_text(profile):
    assert Profile.from_json(profile.to_json()) == profile


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 2}, "format 1"),
        ({"colour": 1}, "'colour'"),
        ({"name": " "}, "needs a name"),
        ({"sections": ["poem"]}, "section 'poem'"),
        ({"limits": [{"figure": "mean"}]}, "a lower or an upper"),
        ({"limits": [{"figur": "mean"}]}, "cannot be read"),
        ({"settings": {"speed": {}}}, "Unknown setting"),
        ({"limits": [{"figure": "area_above", "upper": 1, "above": x} for x in (1, 2)]}, "only one size"),
        ({"decision_rule": None}, "Choose the decision rule"),
        ({"decision_rule": "lenient"}, "one of guarded, simple"),
        ({"name": None}, "needs a name"),
        ({"keep_images": 0}, "days from 1 to 999,999,999"),
        ({"keep_images": 10**9}, "days from 1 to 999,999,999"),
        ({"keep_images": 10**400}, "days from 1 to 999,999,999"),
    ],
)
def test_a_profile_that_means_nothing_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        Profile.from_json(json.dumps(json.loads(CORUNDUM.to_json()) | change))


def test_a_profile_written_before_there_was_a_choice_keeps_the_rule_it_was_judged_by():
    facts = json.loads(CORUNDUM.to_json())
    del facts["decision_rule"]
    assert Profile.from_json(json.dumps(facts)).decision_rule == "guarded"
    with pytest.raises(SettingsError, match="Choose the decision rule"):
        replace(CORUNDUM, decision_rule=None)
    assert Profile("without limits").decision_rule is None


def test_a_profile_on_record_that_cannot_be_read_stops_nothing():
    engine = open_database()
    save(engine, CORUNDUM)
    bad = json.loads(CORUNDUM.to_json()) | {"name": "bad"}
    bad["settings"]["measuring"]["only"] = "area < 2e+10 µm²"
    ledger.append(engine, "profile", "bad", bad, "")
    assert list(profiles(engine)) == ["corundum 80"]
    assert "cannot be understood" in in_use(engine)[1]["bad"]
    with pytest.raises(SettingsError, match="The profile 'bad' on record cannot be read"):
        find(engine, "bad")
    assert default_of(engine, "brick 80") == CORUNDUM


def test_what_is_no_profile_is_refused():
    for text in ("{", "[]", "{}"):
        with pytest.raises(SettingsError):
            Profile.from_json(text)


def test_profiles_are_kept_changed_and_removed():
    engine = open_database()
    save(engine, CORUNDUM)
    save(engine, replace(CORUNDUM, name="other", kind="pebbles"))
    assert find(engine, "corundum 80") == CORUNDUM
    assert default_of(engine, "brick 80").name == "other"  # claimed last
    assert find(engine, "brick 80").name == "other"
    save(engine, replace(CORUNDUM, limits=()))
    assert find(engine, "corundum 80").limits == ()
    assert default_of(engine, "brick 80").name == "corundum 80"
    remove(engine, "corundum 80")
    assert list(profiles(engine)) == ["other"]
    first, *_ = ledger.entries(engine, "profile", "corundum 80")
    assert as_of(engine, "corundum 80", first.number + 1) == CORUNDUM
    assert as_of(engine, "corundum 80", first.number) is None
    assert as_of(engine, "corundum 80", ledger.end(engine)[0] + 1) is None  # removed
    with pytest.raises(SettingsError, match="Profiles on record: other"):
        find(engine, "corundum 80")
    assert default_of(engine, "sand") is None
