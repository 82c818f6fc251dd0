"""The app through Streamlit's AppTest, with the real worker and the shipped weights."""

import io
import time
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from crystalseg.synth import Structure, draw
from crystalseg.ui import state

ROOT = Path(__file__).parents[1]


def png(seed=8, shape=(200, 220)):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, shape, Structure("powder", diameter=35)).image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def app(own_home):
    st.cache_resource.clear()
    st.cache_data.clear()
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not test.exception
    yield test
    state.queue().close()
    st.cache_resource.clear()


def upload(app, data, name="probe.png"):
    app.sidebar.file_uploader[0].upload(name, data, "image/png").run()
    assert not app.exception


def press(app, label):
    next(b for b in app.button if b.label == label).click().run()
    assert not app.exception


def finish(app):
    end = time.monotonic() + 90
    while state.queue().active():
        assert time.monotonic() < end
        time.sleep(0.1)
    app.run()
    assert not app.exception


def metrics(app):
    return {m.label: m.value for m in app.metric}


def test_the_first_page_says_what_to_do(app):
    assert "Upload" in app.markdown[0].value
    assert any("metal powder" in b.label for b in app.button)


def test_the_page_also_runs_alone(app):
    alone = AppTest.from_file(str(ROOT / "pages/measure.py"), default_timeout=60).run()
    assert not alone.exception
    assert alone.title[0].value == "Measure crystals"


def test_upload_run_and_change_thresholds(app):
    upload(app, png())
    assert app.subheader[0].value == "probe.png"
    press(app, "Run")
    finish(app)
    first = metrics(app)
    assert first["Average crystal size"].endswith("px")
    submitted = len(list(state.queue().folder.iterdir()))
    app.sidebar.slider[0].set_value(2.5).run()
    stricter = metrics(app)
    assert stricter != first
    app.sidebar.slider[0].set_value(0.0).run()
    assert metrics(app) == first
    app.sidebar.selectbox[1].select("include").run()
    assert metrics(app)["Crystals counted"] != first["Crystals counted"]
    assert len(list(state.queue().folder.iterdir())) == submitted  # no network ran again


def test_pixel_size_given_after_the_run_turns_pixels_into_micrometres(app):
    upload(app, png())
    press(app, "Run")
    finish(app)
    pixels = float(metrics(app)["Average crystal size"].split()[0])
    next(n for n in app.number_input if n.label == "µm per pixel").set_value(0.5).run()
    press(app, "Use 0.5 µm per pixel")
    value, unit = metrics(app)["Average crystal size"].split()
    assert unit == "µm"
    assert float(value) == pytest.approx(pixels / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("data", "words"), [(b"no image", "not an image"), (png(shape=(64, 64))[:300], "truncated"), (b"", "empty")]
)
def test_a_file_that_cannot_be_used_gets_a_sentence(app, data, words):
    upload(app, data, "bad.png")
    assert any(words in e.value for e in app.error)
    assert not app.subheader


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        (0, "auto, 0.5, x, 1", "'x' is not a number"),
        (0, "0.5, 1", "as many size thresholds"),
        (1, "100, 50, 60, 12", "descend"),
        (0, "auto, 0.5, 0.75, 30", "between 0.01 and 4"),
    ],
)
def test_scales_that_make_no_sense_are_refused_and_cannot_be_run(app, field, text, words):
    upload(app, png())
    app.sidebar.text_input[field].set_value(text).run()
    assert not app.exception
    assert any(words in e.value for e in app.error)
    assert next(b for b in app.button if b.label == "Run").disabled


def test_region_is_measured_alone(app):
    upload(app, png(shape=(300, 300)))
    next(c for c in app.checkbox if "rectangle" in c.label).check().run()
    next(n for n in app.number_input if n.label == "bottom, px").set_value(100).run()
    assert not app.exception
    press(app, "Run")
    finish(app)
    (run,) = (p for p in state.queue().folder.iterdir() if p.is_dir())
    assert state.queue().result(run.name)[0].region == (0, 0, 100, 300)
    next(n for n in app.number_input if n.label == "bottom, px").set_value(10).run()
    assert any("at least 32 px" in e.value for e in app.error)


def test_samples_open(app):
    for label in ("carbides in steel SEM", "etched metal light microscope", "metal powder SEM"):
        press(app, label)
    assert app.subheader[0].value.startswith("metal-powder")
    assert len(state.sample_files()) == 3
    press(app, "synthetic polycrystal (0.5 µm/px)")
    assert any("0.5 µm per pixel" in s.value for s in app.success)


def test_two_images_keep_their_own_results(app):
    press(app, "etched metal light microscope")
    press(app, "Run")
    finish(app)
    first = metrics(app)
    upload(app, png())
    assert not app.metric
    app.sidebar.radio[0].set_value(next(iter(app.session_state["items"]))).run()
    assert metrics(app) == first
