from dataclasses import replace

import pytest

from crystalseg.record import models, store, validations
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, ModelError, find, register, retire, scored
from crystalseg.record.profiles import Profile
from crystalseg.segmentation.settings import Settings, SettingsError

MADE = Model("magnesia", 0, "folded", "MgO", "", recipe={"steps": 3}, curve=({"step": 1, "loss": 2.0},))
SCORES = {"areas": 3, "pq": 0.8, "pq_before": 0.6, "number": 0.1, "others": 0.5, "others_before": 0.51}


@pytest.fixture
def engine():
    return open_database()


def made(weights=b"one", **changes):
    return replace(MADE, weights=store.put(weights), **changes)


def test_versions_count_up_and_the_latest_is_found(engine):
    first = register(engine, made(), "A. Kern")
    second = register(engine, made(b"two", parent=first.reference))
    other = register(engine, made(name="spinel"))
    assert [m.reference for m in (first, second, other)] == ["magnesia:1", "magnesia:2", "spinel:1"]
    assert find(engine, "magnesia") == second
    again = find(engine, "magnesia:1")
    assert (again.who, again.recipe, again.curve) == ("A. Kern", {"steps": 3}, ({"step": 1, "loss": 2.0},))
    assert [m.reference for m in models.models(engine)] == ["spinel:1", "magnesia:2", "magnesia:1"]


def test_what_is_retired_is_not_offered_but_still_found(engine):
    for weights in (b"one", b"two"):
        register(engine, made(weights))
    retire(engine, "magnesia:2", "B. Lang")
    assert find(engine, "magnesia").version == 1
    assert find(engine, "magnesia:2").retired
    assert len(models.models(engine)) == 1
    assert len(models.models(engine, retired=True)) == 2
    assert not retire(engine, "magnesia:2", again=True).retired
    assert find(engine, "magnesia").version == 2


def test_a_name_that_is_not_there_is_answered_with_those_that_are(engine):
    register(engine, made())
    with pytest.raises(ModelError, match=r"no model 'spinel'\. Models on record: magnesia:1"):
        find(engine, "spinel")


@pytest.mark.parametrize("name", ["", "a:b", "../up", "x" * 41, " a"])
def test_names_that_files_and_settings_cannot_hold_are_refused(engine, name):
    with pytest.raises(ModelError, match="1 to 40 letters"):
        register(engine, made(name=name))


def test_scores_with_errors_become_the_uncertainty_of_its_runs(engine):
    model = register(engine, made())
    assert model.validation is None
    assert model.verdict == "Not validated yet."
    model = scored(engine, model, SCORES | {"errors": {"mean": [0.1, -0.2, 0.05]}})
    assert ("error of the average crystal size on each area", "+10.0, -20.0, +5.0 %") in model.rows()
    validations.keep(model.validation, validations.own())
    settings = Settings(network=model.setting)
    assert settings.full_method == "sima-plus@folded:magnesia:1"
    for profile in (None, Profile("p"), Profile("p", kind="MgO")):
        assert validations.lookup(profile, settings).errors == {"mean": [0.1, -0.2, 0.05]}
    assert validations.lookup(Profile("p", kind="steel"), settings) is None
    assert validations.lookup(Profile("p", kind="MgO"), Settings()) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "PQ 0.80 on 3 areas it did not learn, 0.60 before the lesson."),
        ({"areas": 2}, "A verdict needs 3 or more such areas."),
        ({"areas": 0}, "Not validated, because no area could be left out. Check two more areas. A verdict"),
        ({"others": 0.45}, "It lost 6 points of PQ on other materials"),
        ({"real": 0.3, "real_before": 0.5}, "It lost 20 points of PQ on other materials"),
    ],
)
def test_the_verdict_says_what_is_not_known_too(changes, words):
    assert words in replace(MADE, scores=SCORES | changes).verdict


@pytest.mark.parametrize("network", ["folded:", "folded:a", "folded:a:0", "swin:a:1", "folded:a:1:2", 7])
def test_settings_refuse_what_names_no_model(network):
    with pytest.raises(SettingsError, match="Unknown flow network"):
        Settings(network=network)


def test_settings_with_a_model_know_its_architecture():
    settings = Settings(network="cellpose:our grains:12")
    assert (settings.architecture, settings.model) == ("cellpose", "our grains:12")
    assert settings.networks == ("cellpose", "confidence")
    assert Settings.from_json(settings.to_json()) == settings
    # watershed runs no network, so no model either
    assert replace(settings, method="watershed").model == ""
    assert replace(settings, method="cellpose-noresize").full_method == "cellpose-noresize@cellpose:our grains:12"
