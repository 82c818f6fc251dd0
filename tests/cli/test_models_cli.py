"""Teaching and using a model from the command line, in this process."""

import json

import pytest
from PIL import Image

from crystalseg.micrographs.pairs import write_pair
from crystalseg.record import models
from crystalseg.record.database import open_database
from tests.cli.test_cli import DRAWN, here
from tests.execution.test_teaching import small


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "labelled"
    place.mkdir()
    write_pair(place, "one", DRAWN.image, DRAWN.labels)
    return place


def test_a_model_is_taught_used_shared_and_retired(folder, tmp_path, monkeypatch):
    small(monkeypatch.setattr)
    said = here(
        "teach", "powder", "--data", folder, "--material", "metal powder", "--minutes", 0.1, "--operator", "A. K."
    )
    assert said.returncode == 0, said.stderr
    assert "Model powder:1: Not validated, because no area could be left out. Check two more areas." in said.stdout
    made = models.find(open_database(), "powder")
    assert (made.material, made.who) == ("metal powder", "A. K.")
    assert "powder:1 · metal powder · not validated" in here("models", "list").stdout
    assert f"SHA-256 of weights: {made.weights}" in here("models", "show", "powder").stdout
    # it measures, by name
    image = tmp_path / "image.png"
    Image.fromarray(DRAWN.image).save(image)
    out = tmp_path / "out"
    assert here("segment", image, "--out", out, "--model", "powder").returncode == 0
    run = json.loads((out / "image_run.json").read_text())
    assert run["settings"]["network"] == "folded:powder:1"
    assert (run["hashes"]["folded"], run["versions"]["folded"]) == (made.weights, "powder:1")
    # and after it is retired, what it measured is computed again with it
    assert here("models", "retire", "powder").stdout == "Model powder:1 is retired.\n"
    assert here("models", "list").stdout.startswith("No model is on record")
    again = here("audit", run["id"], "--segment")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "gives the figures on record" in again.stdout
    # a new run does not find it by name, and says what there is
    refused = here("segment", image, "--out", out, "--model", "powder")
    assert refused.returncode == 2
    assert "There is no model 'powder'. Models on record: none." in refused.stderr
    file = tmp_path / "powder.safetensors"
    assert here("models", "export", "powder:1", file).returncode == 0
    assert "Model zinc:1 is on record" in here("models", "import", file, "--name", "zinc").stdout
    assert here("models", "share", tmp_path).stdout == "Given: zinc:1.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("teach", "steel"), "There is no labelled image of steel yet"),
        (("teach", "steel", "--go-on"), "There is no lesson in"),
        (("teach", "a/b", "--go-on"), "1 to 40 letters"),
        (("teach", "steel", "--data", "nowhere"), "no <id>.png with an <id>_label.png beside it"),
        (("models", "share", "nowhere"), "There is no folder nowhere. Make it first"),
        (("models", "show", "steel"), "There is no model 'steel'. Models on record: none."),
    ],
)
def test_what_cannot_be_done_is_one_sentence(arguments, words):
    said = here(*arguments)
    assert said.returncode == 2
    assert words in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
