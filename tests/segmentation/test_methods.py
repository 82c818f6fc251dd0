import pytest

from crystalseg.segmentation.methods import (
    FLOW_NETWORKS,
    LADDERS,
    METHODS,
    PACKAGE,
    method_of,
    networks_in,
    networks_of,
    statement_of,
)
from crystalseg.segmentation.pipeline import RUNS
from crystalseg.segmentation.settings import Settings


def test_every_method_can_be_run_and_every_run_has_its_words():
    assert set(RUNS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_is(name):
    method = METHODS[name]
    assert method.words
    for network, words in FLOW_NETWORKS.items():
        statement = statement_of(name, network, "0.5, 1")
        runs_it = "cellpose" in networks_of(name, "cellpose")
        assert statement.endswith(".")
        assert ("0.5, 1" in statement) == runs_it
        assert (f"({words})" in statement) == (runs_it and (method.runs_sima_plus or network == "cellpose"))


def test_what_takes_a_ladder_selects_or_fuses():
    assert set(LADDERS) == {n for n, m in METHODS.items() if m.selects or m.fusion}
    assert method_of(f"{PACKAGE}:cyto3") is METHODS[PACKAGE]
    assert Settings("sima-plus").ladder((512, 512)) == (0.25, 0.5, 1.0)
    assert Settings("sima").ladder((448, 448)) == (224 / 448 / 2, 0.5, 0.75, 1.0)


def test_a_run_names_the_weights_its_method_used(random_models):
    from dataclasses import replace

    models = replace(
        random_models,
        hashes={n: n * 2 for n in ("cellpose", "sima", "confidence")},
        versions={"cellpose": "1", "sima": "2", "confidence": "3"},
    )
    used = {"cellpose": "cellpose" * 2, "sima": "sima" * 2}, {"cellpose": "1", "sima": "2"}
    assert models.used_by(Settings("sima")) == used
    assert set(models.used_by(Settings(network="cellpose"))[0]) == {"cellpose", "confidence"}
    assert models.used_by(Settings("watershed")) == ({}, {})
    assert models.parameters(Settings("sima")) == 6_601_169 + 5_550_069
    assert models.parameters(Settings(network="folded")) == 6_611_332 + 61_417
    assert models.parameters(Settings("watershed")) == 0


def test_only_networks_whose_weights_are_there_are_offered(tmp_path):
    for name in ("cellpose", "confidence", "folded"):
        (tmp_path / f"{name}.safetensors").touch()
    assert networks_in(tmp_path) == ["cellpose"]  # nothing judges the other's proposals
    (tmp_path / "folded-confidence.safetensors").touch()
    assert networks_in(tmp_path) == ["folded", "cellpose"]
    (tmp_path / "efficientnet.safetensors").touch()
    assert networks_in(tmp_path) == ["folded", "cellpose"]
    (tmp_path / "efficientnet-confidence.safetensors").touch()
    assert networks_in(tmp_path) == ["folded", "cellpose", "efficientnet"]
