"""The Teach page without a browser; what it starts is not run here (tests/execution/test_teaching.py)."""

import io
import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from crystalseg.execution import model_files, work
from crystalseg.execution.kinds import lesson
from crystalseg.measurement.measurement import measure
from crystalseg.micrographs.annotations import annotation
from crystalseg.networks import DIRECTORY
from crystalseg.networks.weights import load_weights, save_weights
from crystalseg.record import annotations, models, store
from crystalseg.record.database import open_database
from crystalseg.record.models import Model
from crystalseg.record.runs import Run, kept_files, record
from crystalseg.segmentation.settings import Settings
from tests.conftest import labelled
from tests.evaluation.test_acquisition import seen as grid
from tests.micrographs.test_annotations import LABELS, area, micrograph


@pytest.fixture
def started(monkeypatch):
    calls = []
    monkeypatch.setattr(work, "start", lambda one: calls.append(one.folder))
    return calls


@pytest.fixture
def page(started, own_queue):
    app = AppTest.from_file("../../pages/teach.py", default_timeout=60)
    app.session_state["entered"] = True
    return app


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def on_record(material="steel"):
    return annotations.keep(open_database(), annotation(micrograph(), LABELS, area(0, 0, 30, 80)), material, "drawn")


def put_model(**changes):
    engine = open_database()
    file = store.home() / "made.safetensors"
    save_weights(file, *load_weights(DIRECTORY / "folded.safetensors", "folded"))
    weights = store.put_file(file)
    curve = ({"step": 5, "loss": 2.0, "pq": 0.5, "part": 0}, {"step": 10, "loss": 1.0, "pq": 0.6, "part": 0})
    return models.register(engine, replace(Model("steel", 0, "folded", "steel", weights, curve=curve), **changes))


def test_label_images_are_added_and_taken_away(page):
    page.run()
    assert "Name a material first" in page.info[0].value
    put_model()  # a material that is known, of which nothing is labelled here
    page.run()
    labelled(page.selectbox, "Material").select("steel").run()
    assert "Correct a part of an image" in page.info[0].value
    files = [
        ("a.png", png(micrograph().pixels), "image/png"),
        ("a_label.png", png(LABELS.astype(np.uint16)), "image/png"),
    ]
    page.file_uploader[0].upload(*files[0]).run()
    labelled(page.button, "Add them").click().run()
    assert "beside it" in page.error[0].value
    page.file_uploader[0].upload(*files[0]).upload(*files[1]).run()
    labelled(page.button, "Add them").click().run()
    assert not page.exception
    (kept,) = annotations.annotations(open_database(), "steel")
    assert (kept.name, kept.crystals) == ("a", 3)
    labelled(page.button, "Remove").click().run()
    assert not annotations.annotations(open_database(), "steel")
    signed = io.BytesIO()
    Image.fromarray(np.where(LABELS, LABELS, -1).astype(np.int32)).save(signed, "TIFF")
    page.file_uploader[0].upload(*files[0]).upload("a_label.tif", signed.getvalue(), "image/tiff").run()
    labelled(page.button, "Add them").click().run()
    assert "Numbers below 0 are background" in page.error[0].value
    labelled(page.checkbox, "Numbers below 0 are background").check().run()
    labelled(page.button, "Add them").click().run()
    assert [one.crystals for one in annotations.annotations(open_database(), "steel")] == [3]


def test_a_lesson_is_begun_watched_and_given_up(page, started):
    on_record()
    page.run()
    labelled(page.button, "Learn").click().run()
    assert not page.exception
    folder = lesson.folder_of("steel")
    assert started == [folder]
    assert lesson.load(folder).minutes == 10
    store.write_safely(folder / "state.json", b'{"status": "running", "part": 1, "parts": 4, "title": "the model"}')
    (folder / "part-0").mkdir()
    (folder / "part-0" / "learn.csv").write_text(
        "step,minutes,learning_rate,loss,validation_loss,waited,pq\n5,0.1,0.001,2.5,2.4,0.1,0.4\n5,0.1,0.001,2.5,2.4,0.1,0.4\n9,"
    )
    page.run()
    assert not page.exception
    assert len(lesson.learning_curve(folder, 0)) == 1
    # its process is gone
    labelled(page.button, "Go on").click().run()
    assert len(started) == 2
    labelled(page.button, "Discard").click().run()
    assert not (folder / "lesson.json").exists()
    assert len(annotations.annotations(open_database())) == 1


def test_a_model_is_looked_at_exported_retired_and_brought_back(page, tmp_path):
    scores = {"areas": 3, "pq": 0.8, "pq_before": 0.6, "number": 0.1, "others": 0.4, "others_before": 0.5}
    rows = [{"name": "a", "crystals": 20, "pq": 0.8, "number": 0.1}]
    model = put_model()
    models.scored(open_database(), model, scores | {"rows": rows, "errors": {"mean": [0.1, 0.1, 0.1]}})
    page.run()
    words = " ".join(text.value for text in page.markdown)
    assert "PQ 0.80 on 3 areas it did not learn, 0.60 before the lesson. It lost 10 points" in words
    labelled(page.button, "Retire").click().run()
    assert not models.models(open_database())
    labelled(page.toggle, "Show retired models").set_value(True).run()
    labelled(page.button, "Put it back in use").click().run()
    (again,) = models.models(open_database())
    data = model_files.exported(again)
    page.file_uploader[-1].upload("other.safetensors", data).run()
    labelled(page.button, "Put it on record").click().run()
    assert not page.exception
    assert len(models.models(open_database(), retired=True)) == 1
    place = labelled(page.text_input, "Or a folder that several machines share")
    place.set_value(str(tmp_path / "nowhere")).run()
    labelled(page.button, "Share models through it").click().run()
    assert "There is no folder" in page.error[0].value
    place.set_value(str(tmp_path)).run()
    labelled(page.button, "Share models through it").click().run()
    assert page.success[0].value.startswith("Given")
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_what_to_label_next_comes_from_the_runs_on_record(page):
    seen = grid("grid", lambda y, x: 0.2 if y > 160 and x > 160 else 0.95)
    table = measure(seen.labels, None, "exclude", seen.confidence).crystals
    kept = kept_files(seen.labels, seen.confidence, table, "exclude")
    files = {name: sha256(data).hexdigest() for name, data in kept.items()}
    image, settings = store.put(png(seen.pixels)), json.loads(Settings().to_json())
    run = Run("slide.png", image, None, None, settings, {}, {}, {}, None, files=files, id="run1")
    record(open_database(), run, kept)
    on_record()
    page.session_state["teach tabs"] = "What to label next"
    page.run()
    assert not page.exception
    assert any("minutes of your time" in text.value for text in page.markdown)
    assert any("crystals, about" in text.value and "of them wrong" in text.value for text in page.caption)
