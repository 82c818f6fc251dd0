"""The app through Streamlit's AppTest, with the real worker and the shipped weights."""

import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.execution.queue import EXAMPLE
from crystalseg.micrographs import examples
from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import checked
from crystalseg.record.annotations import annotations, keep
from crystalseg.record.store import now
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.settings import Instances
from crystalseg.segmentation.tiling import looks
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from crystalseg.ui import shared
from tests.conftest import labelled
from tests.segmentation import hub_models

ROOT = Path(__file__).parents[2]


def png(seed=8, shape=(200, 220)):
    buffer = io.BytesIO()
    Image.fromarray(draw(seed, shape, Structure("powder", diameter=35)).image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def app(own_home, quick_example):
    st.cache_resource.clear()
    st.cache_data.clear()
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not test.exception
    yield test
    shared.queue().close()
    st.cache_resource.clear()


def upload(app, data, name="probe.png"):
    labelled(app.sidebar.file_uploader, "Micrographs").upload(name, data, "image/png").run()
    assert not app.exception


def test_a_text_beside_an_image_gives_its_pixel_size_even_if_it_comes_later(app):
    text = b"[SemImageFile]\nDataSize=220x200\nPixelSize=250\n"
    uploader = labelled(app.sidebar.file_uploader, "Micrographs")
    uploader.upload("probe.txt", text, "text/plain").run()
    assert any("no image of this name was given" in e.value for e in app.error)
    uploader = labelled(app.sidebar.file_uploader, "Micrographs")
    uploader.upload("probe.png", png(), "image/png").upload("probe.txt", text, "text/plain").run()
    assert not app.error
    (item,) = app.session_state["items"].values()
    assert (item.original.um_per_px, item.original.calibration.source) == (0.25, "Hitachi .txt file")
    upload(app, png(9), "later.png")
    assert app.session_state["items"][app.session_state["current"]].original.calibration is None
    uploader = labelled(app.sidebar.file_uploader, "Micrographs")
    uploader.upload("later.png", png(9), "image/png").upload("later.txt", text, "text/plain").run()
    assert app.session_state["items"][app.session_state["current"]].original.um_per_px == 0.25


def press(app, label):
    labelled(app.button, label).click().run()
    assert not app.exception


def finish(app):
    end = time.monotonic() + 90
    while shared.queue().active():
        assert time.monotonic() < end
        time.sleep(0.1)
    app.run()
    assert not app.exception


def own_runs():
    """Folders of the runs that the user started."""
    return [p for p in shared.queue().folder.iterdir() if p.is_dir() and not p.name.startswith(EXAMPLE)]


def metrics(app):
    return {m.label: m.value for m in app.metric}


def test_the_first_page_shows_a_measured_sample_and_says_what_to_do(app):
    assert any("Upload" in m.value for m in app.markdown)
    assert any("metal powder" in b.label for b in app.button)
    finish(app)
    assert app.subheader[0].value == examples.FIRST
    assert metrics(app)["Average crystal size"].endswith("px")
    upload(app, png())  # the sample makes way for the user's own image
    assert app.subheader[0].value == "probe.png"
    assert len(app.session_state["items"]) == 1


@pytest.mark.parametrize("name", ["measure", "inspect", "compare", "correct"])
def test_each_page_also_runs_alone(app, name):
    finish(app)
    alone = AppTest.from_file(str(ROOT / f"pages/{name}.py"), default_timeout=60)
    alone.session_state["entered"] = True
    alone.run()
    assert not alone.exception
    assert alone.title[0].value.startswith(name.capitalize())
    assert alone.subheader[0].value == examples.FIRST


def test_upload_run_and_change_thresholds(app):
    upload(app, png())
    assert app.subheader[0].value == "probe.png"
    press(app, "Run")
    finish(app)
    first = metrics(app)
    assert first["Average crystal size"].endswith("px")
    submitted = len(list(shared.queue().folder.iterdir()))
    labelled(app.sidebar.slider, "Foreground threshold h").set_value(2.5).run()
    stricter = metrics(app)
    assert stricter != first
    labelled(app.sidebar.slider, "Foreground threshold h").set_value(0.0).run()
    assert metrics(app) == first
    app.selectbox(key="measure border rule").select("include").run()
    assert metrics(app)["Crystals counted"] != first["Crystals counted"]
    assert len(list(shared.queue().folder.iterdir())) == submitted  # no network ran again


def test_pixel_size_given_after_the_run_turns_pixels_into_micrometres(app):
    upload(app, png())
    press(app, "Run")
    finish(app)
    pixels = float(metrics(app)["Average crystal size"].split()[0])
    labelled(app.text_input, "Pixel size or image width").set_value("0,5").run()
    value, unit = metrics(app)["Average crystal size"].split()
    assert unit == "µm"
    assert float(value) == pytest.approx(pixels / 2, rel=0.05)  # as its uncertainty lets it be rounded
    labelled(app.text_input, "Pixel size or image width").set_value("half").run()
    assert "not a number" in app.error[0].value
    assert all(button.label != "Run" or button.disabled for button in app.button)
    labelled(app.text_input, "Pixel size or image width").set_value("").run()
    assert metrics(app)["Average crystal size"].endswith("px")


@pytest.mark.parametrize(
    ("data", "words"), [(b"no image", "not an image"), (png(shape=(64, 64))[:300], "truncated"), (b"", "empty")]
)
def test_a_file_that_cannot_be_used_gets_a_sentence(app, data, words):
    upload(app, data, "bad.png")
    assert any(words in e.value for e in app.error)
    assert all(item.opener for item in app.session_state["items"].values())  # nothing but the sample is there


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("Resize factors", "auto, 0.5, x, 1", "'x' is not a number"),
        ("Size thresholds, % of the longer side", "100, 50", "as many size thresholds"),
        ("Size thresholds, % of the longer side", "100, 50, 60, 12", "descend"),
        ("Resize factors", "auto, 0.5, 0.75, 30", "between 0.01 and 4"),
    ],
)
def test_scales_that_make_no_sense_are_refused_and_cannot_be_run(app, field, text, words):
    upload(app, png())
    app.selectbox(key="measure method").select("sima").run()
    labelled(app.sidebar.text_input, field).set_value(text).run()
    assert not app.exception
    assert any(words in e.value for e in app.error)
    assert labelled(app.button, "Run").disabled


@pytest.mark.parametrize("method", ["watershed", "cellpose-original"])
def test_another_method_by_name(app, method):
    upload(app, png())
    app.selectbox(key="measure method").select(method).run()
    asked = {t.label for t in app.sidebar.text_input}
    assert not any(label.startswith(("Resize factors", "Size thresholds")) for label in asked)  # no ladder to choose
    press(app, "Run")
    finish(app)
    assert metrics(app)["Average crystal size"].endswith("px")
    (run,) = own_runs()
    assert shared.queue().result(run.name)[1].settings.method == method


def test_a_model_of_the_package_must_be_named(app):
    upload(app, png())
    app.selectbox(key="measure method").select("cellpose-package").run()
    assert labelled(app.button, "Run").disabled
    labelled(app.sidebar.text_input, "Model of the cellpose package").set_value("no such model").run()
    press(app, "Run")
    finish(app)
    assert any("neither a file nor the name of a model" in e.value for e in app.error)


def test_region_is_measured_alone(app):
    upload(app, png(shape=(300, 300)))
    next(c for c in app.checkbox if "rectangle" in c.label).check().run()
    labelled(app.number_input, "bottom, px").set_value(100).run()
    assert not app.exception
    press(app, "Run")
    finish(app)
    (run,) = own_runs()
    assert shared.queue().result(run.name)[0].region == (0, 0, 100, 300)
    labelled(app.number_input, "bottom, px").set_value(10).run()
    assert any("at least 32 px" in e.value for e in app.error)


def test_a_file_called_like_markdown_is_shown_by_its_name(app):
    upload(app, png(), "![x](http://a.example/b.png).png")
    assert app.subheader[0].value == r"\!\[x\](http\://a.example/b.png).png"
    upload(app, b"no image", "[a](http://b.example).png")
    assert app.error[0].value.startswith(r"\[a\](http\://b.example).png\: not an image")


def test_samples_open(app):
    for label in ("carbides in steel SEM", "etched metal light microscope", "metal powder SEM"):
        press(app, label)
    assert app.subheader[0].value.startswith("metal-powder")
    assert len(examples.files()) == 3
    press(app, "synthetic polycrystal (0.5 µm/px)")
    assert any(s.value.startswith("0.5 µm per pixel") for s in app.success)


def test_two_images_keep_their_own_results(app):
    press(app, "etched metal light microscope")
    press(app, "Run")
    finish(app)
    first = metrics(app)
    upload(app, png())
    assert not app.metric
    labelled(app.sidebar.radio, "Working on").set_value(next(iter(app.session_state["items"]))).run()
    assert metrics(app) == first


def go(app, name):
    app.switch_page(f"pages/{name}.py").run()
    assert not app.exception


def test_all_pages_share_the_micrograph_and_the_thresholds(app):
    upload(app, png())
    labelled(app.sidebar.slider, "Foreground threshold h").set_value(0.5).run()
    press(app, "Run")
    finish(app)
    measured = metrics(app)
    for name in ("inspect", "compare", "correct"):
        go(app, name)
        assert app.subheader[0].value == "probe.png"
        assert any("h 0.5" in c.value for c in app.sidebar.caption)
    go(app, "measure")
    assert labelled(app.sidebar.slider, "Foreground threshold h").value == 0.5
    assert metrics(app) == measured


def test_a_reload_or_another_tab_shows_the_same_image_run_and_settings(app):
    def tab(**asked):
        other = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
        for key, value in asked.items():
            other.query_params[key] = value
        return other.run()

    assert "image" not in app.query_params  # the example needs no address
    upload(app, png())
    assert tab(**app.query_params).subheader[0].value == "probe.png"
    app.select_slider(key="measure effort").set_value("quick").run()
    press(app, "Run")
    assert tab(**app.query_params).subheader[0].value == "probe.png"
    finish(app)
    again = tab(**app.query_params)
    assert metrics(again) == metrics(app)
    assert again.select_slider(key="measure effort").value == "quick"
    assert again.query_params == app.query_params
    new = tab()
    assert new.subheader[0].value == examples.FIRST
    next(button for button in new.button if button.label.startswith("probe.png")).click().run()
    assert metrics(new) == metrics(app)


@pytest.mark.parametrize("image", ["../../../etc/passwd", "0" * 64, "A" * 64, ""])
def test_an_address_that_names_nothing_known_opens_the_example(app, image):
    other = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    other.query_params["image"], other.query_params["name"], other.query_params["run"] = image, "a.png", "no run"
    other.run()
    assert not other.exception
    assert other.subheader[0].value == examples.FIRST


def test_no_page_forgets_what_was_chosen_on_another(app):
    """Every page is opened while a run is computed, which Measure polls, and each choice is found again."""
    upload(app, png(shape=(900, 1000)))
    labelled(app.number_input, "Smallest crystal, px²").set_value(33).run()
    app.select_slider(key="measure effort").set_value("quick").run()
    labelled(app.sidebar.slider, "Foreground threshold h").set_value(0.5).run()
    labelled(app.sidebar.text_input, "Resize factors").set_value("0.25, 0.512345678").run()
    labelled(app.sidebar.text_input, "Count only").set_value("leave out pores").run()
    app.selectbox(key="measure border rule").select("include").run()
    labelled(app.text_input, "Pixel size or image width").set_value("0,123456789").run()
    labelled(app.checkbox, "Measure a rectangle only").check().run()
    labelled(app.number_input, "bottom, px").set_value(800).run()
    press(app, "Run")

    def chosen():
        fields = ("Smallest crystal, px²", "Pixel size or image width", "bottom, px", "Resize factors")
        fields += ("Count only", "Effort", "Foreground threshold h")
        widgets = (*app.number_input, *app.text_input, *app.select_slider, *app.sidebar.slider)
        values = [labelled(widgets, field).value for field in fields]
        return [*values, app.selectbox(key="measure border rule").value]

    wanted = [33, "0,123456789", 800, "0.25, 0.512345678", "leave out pores", "quick", 0.5, "include"]
    assert shared.queue().active()
    assert chosen() == wanted
    for name in ("inspect", "compare", "correct", "batch", "series", "teach", "history", "profiles", "audit"):
        go(app, name)
        assert not app.exception
        go(app, "measure")
        assert chosen() == wanted
    finish(app)
    assert chosen() == wanted
    (run,) = own_runs()
    assert shared.queue().result(run.name)[1].settings == app.session_state["choices"].settings.settings()


def test_a_place_in_one_image_is_not_gone_to_in_another(app):
    """The row chosen in a table, the field to be corrected and doubtful crystals belong to their result."""
    upload(app, png())
    press(app, "Run")
    finish(app)
    item = next(iter(app.session_state["items"].values()))
    for name in ("field", "doubt", "skipped", "row"):
        item.go_to(name, item.job, f"of {item.job}")
        assert item.place(name, item.job) == f"of {item.job}"
        assert item.place(name, "another run of it") is None
    upload(app, png(9), "other.png")
    other = app.session_state["items"][app.session_state["current"]]
    assert other is not item
    assert other.places == {}
    for path in (*(ROOT / "pages").glob("*.py"), *(ROOT / "crystalseg" / "ui").glob("*.py")):
        for name in ("field", "doubt", "picked", "row", "skipped"):
            assert f'session_state["{name}"]' not in path.read_text(), path


def test_a_checked_area_becomes_something_to_teach_with(app):
    upload(app, png())
    press(app, "Run")
    finish(app)
    (run,) = own_runs()
    engine, other = shared.engine(), np.arange(64, dtype=np.int32).reshape(8, 8) % 3
    image = Micrograph(np.zeros((8, 8, 3), np.uint8), "other", "0" * 64)
    keep(engine, annotation(image, other), "steel", "made here")
    go(app, "correct")
    add = labelled(app.button, "Add to the labelled images")
    assert add.disabled
    app.text_input(key="who").set_value("A. Smith")
    height, width = shared.result(run.name)[0].shape
    checked.check(engine, run.name, [(0, 0), (0, width - 1), (height // 2, width - 1), (height // 2, 0)], "A. Smith")
    app.run()
    assert labelled(app.button, "Add to the labelled images").disabled  # nobody said of which material
    labelled(app.selectbox, "Material").select("steel").run()
    labelled(app.button, "Add to the labelled images").click().run()
    assert not app.exception
    _, kept = annotations(engine, "steel")
    assert kept.name == "probe.png"
    assert 0.4 < kept.share < 0.6
    assert kept.crystals > 0
    labelled(app.button, "Clear the areas").click().run()
    assert checked.polygons(engine, run.name) == []


def test_pages_say_what_to_do_before_a_run(app):
    upload(app, png())
    for name in ("inspect", "correct"):
        go(app, name)
        assert any("not measured yet" in i.value for i in app.info)


def test_a_correction_changes_the_figures_on_every_page_and_is_in_the_report(app):
    upload(app, png())
    press(app, "Run")
    finish(app)
    before = metrics(app)
    (run,) = own_runs()
    corrected = shared.corrected(run.name, Instances())
    go(app, "correct")
    assert any("Enter your name" in i.value for i in app.info)
    largest = corrected.table(None).sort_values("area_px2")["id"].iloc[-1]
    corrected.do(Correction("delete", (largest,), who="A. Smith", when=now()))
    app.run()
    assert any("1 correction by hand, by A. Smith" in c.value for c in app.caption)
    go(app, "measure")
    assert metrics(app) != before
    assert any("1 correction by hand" in c.value for c in app.caption)
    # the log outlives the process's memory
    st.cache_resource.clear()
    again = shared.corrected(run.name, Instances())
    assert largest not in set(again.table(None)["id"])
    corrected.do("undo")
    st.cache_resource.clear()
    assert metrics(app.run()) == before
    assert shared.queue().result(run.name)[1].labels.max() >= largest  # the run's own labels were never touched


def test_the_run_shown_is_compared_first_under_the_name_of_its_flow_network(app):
    upload(app, png())
    labelled(app.selectbox, "Flow network").set_value("cellpose").run()
    labelled(app.select_slider, "Effort").set_value("quick").run()
    press(app, "Run")
    finish(app)
    go(app, "compare")
    assert labelled(app.multiselect, "Methods").value == ["sima-plus@cellpose/quick", "cellpose-original"]
    assert any(b.label == "Run cellpose-original" for b in app.button)  # the other is done


def test_methods_compared_with_each_other_and_with_a_label_image(app):
    made = draw(8, (200, 220), Structure("powder", diameter=35))
    upload(app, png())
    press(app, "Run")
    finish(app)
    go(app, "compare")
    assert labelled(app.multiselect, "Methods").value == ["sima-plus", "cellpose-original"]
    labelled(app.multiselect, "Methods").set_value(["sima-plus", "watershed"]).run()
    press(app, "Run watershed")
    finish(app)
    tables = {tuple(d.value.columns)[1]: d.value for d in app.dataframe}
    assert list(tables["average, px"]["method"]) == ["sima-plus", "watershed"]
    assert tables["average, px"]["KS distance"].iloc[0] == 0
    assert list(tables["agree"]["method"]) == ["watershed"]
    app.session_state["choices"].settings.put("only", "equivalent_diameter > 1000 px")
    app.run()
    assert any("All crystals are compared" in c.value for c in app.caption)
    assert next(d.value for d in app.dataframe if "average, px" in d.value.columns)["counted"].min() > 0
    app.session_state["choices"].settings.put("only", "")
    buffer = io.BytesIO()
    Image.fromarray(made.labels.astype("uint16")).save(buffer, "PNG")
    labelled(app.main.file_uploader, "Label image (optional)").upload("truth.png", buffer.getvalue(), "image/png").run()
    assert not app.exception
    scores = next(d.value for d in app.dataframe if "PQ" in d.value.columns).set_index("method")
    (run,) = (p for p in own_runs() if shared.queue().result(p.name)[1].settings.method == "watershed")
    wanted = panoptic_quality(made.labels, shared.queue().result(run.name)[1].labels)
    assert scores.loc["watershed", "PQ"] == pytest.approx(wanted)
    assert scores.loc["label image given", "PQ"] == 1
    coloured = io.BytesIO()
    Image.fromarray(np.dstack([made.labels % 256, made.labels // 2, made.labels // 3]).astype("uint8")).save(
        coloured, "PNG"
    )
    given = labelled(app.main.file_uploader, "Label image (optional)")
    given.upload("wrong.png", coloured.getvalue(), "image/png").run()
    assert any("one channel" in e.value for e in app.error)
    signed = io.BytesIO()
    Image.fromarray(np.where(made.labels > 0, made.labels, -1).astype(np.int32)).save(signed, "TIFF")
    labelled(app.main.file_uploader, "Label image (optional)").upload(
        "signed.tif", signed.getvalue(), "image/tiff"
    ).run()
    assert any("choose “Numbers below 0 are background”" in e.value for e in app.error)
    labelled(app.checkbox, "Numbers below 0 are background").check().run()
    assert not app.error
    scores = next(d.value for d in app.dataframe if "PQ" in d.value.columns).set_index("method")
    assert scores.loc["watershed", "PQ"] == pytest.approx(wanted)


def test_less_effort_is_chosen_and_what_it_costs_is_said(app):
    upload(app, png(shape=(600, 700)))
    thorough = next(c.value for c in app.caption if c.value.startswith("Effort"))
    app.select_slider(key="measure effort").set_value("quick").run()
    assert not app.exception
    quick = next(c.value for c in app.caption if c.value.startswith("Effort"))
    assert quick.startswith("Effort quick: the network looks at ")
    least = [int(re.search(r"at (\d+)", words)[1]) for words in (thorough, quick)]
    # 600 × 700 px are seen whole at 1, 0.5 and 0.25, or at 0.25 alone
    assert least == [looks((600, 700), (0.25, 0.5, 1)), looks((600, 700), (0.25,))]
    app.selectbox(key="measure method").select("watershed").run()
    assert not [c for c in app.caption if c.value.startswith("Effort")]


def test_a_model_by_its_checkpoint_is_compared(app, tmp_path):
    folder = tmp_path / "our network"
    hub_models.network(folder, 1)
    upload(app, png())
    app.selectbox(key="measure method").select("watershed").run()
    press(app, "Run")
    finish(app)
    go(app, "compare")
    labelled(app.multiselect, "Methods").set_value(["watershed"]).run()
    labelled(app.multiselect, "Your own model is").set_value(["hub"]).run()
    labelled(app.text_input, "Your own model").set_value(str(folder)).run()
    press(app, next(b.label for b in app.button if b.label.startswith("Run hub")))
    finish(app)
    table = next(d.value for d in app.dataframe if "average, px" in d.value.columns)
    assert list(table["method"]) == ["watershed", f"hub:{folder}"]
    labelled(app.multiselect, "Your own model is").set_value(["hub-prompted"]).run()
    press(app, next(b.label for b in app.button if b.label.startswith("Run hub")))
    finish(app)
    assert any("which takes no prompts" in e.value for e in app.error)
