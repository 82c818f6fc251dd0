"""Profiles, batch and history, and what a profile does on the Measure page, without a browser."""

import json
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from crystalseg.execution import first_run
from crystalseg.execution.kinds import batch
from crystalseg.execution.work_state import working
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.record import ledger, store, validations
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile, find, profiles, save
from crystalseg.record.reports import issue
from crystalseg.record.runs import recorded
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from crystalseg.ui import shared
from tests.conftest import choose_runs, keep, labelled, png
from tests.record.test_runs import measured

STRICT = Profile(
    "strict",
    "powder",
    settings=Settings("watershed", instances=Instances(0.5, 40, 0.3), measuring=Measuring("include")),
    limits=(Limit("mean", 20, 500), Limit("d90", upper=1.0)),
    decision_rule="guarded",
)


@pytest.fixture
def page(own_queue):
    """Opens a page with a queue of the test's own."""

    def opened(name):
        app = AppTest.from_file(f"../../pages/{name}.py", default_timeout=60)
        app.session_state["entered"] = True
        return app.run()

    return opened


def measure_example():
    """The first example is measured, its maps and all."""
    job = first_run.first_job(shared.queue())
    end = time.monotonic() + 120
    while shared.queue().job(job).active:
        assert time.monotonic() < end
        time.sleep(0.1)
    done = shared.queue().job(job)
    assert (done.status, done.error) == ("done", "")


def test_a_profile_is_made_changed_exported_and_removed(page):
    app = page("profiles")
    assert not app.exception
    labelled(app.text_input, "Name").set_value("corundum")
    labelled(app.text_input, "Product").set_value("brick 80")
    app.selectbox(key="profiles method").select("sima")
    labelled(app.button, "Save the profile").click().run()
    assert not app.exception
    made = find(open_database(), "corundum")
    assert (made.product, made.settings.method) == ("brick 80", "sima")
    assert labelled(app.radio, "Profiles").value == "corundum"
    labelled(app.button, "Remove").click().run()
    assert profiles(open_database()) == {}


def test_a_profile_with_limits_says_if_no_verdict_can_be_given(page):
    save(open_database(), STRICT)
    app = page("profiles")
    assert not app.exception
    assert "names no kind of material" in app.info[0].value


def test_a_profile_without_a_name_is_refused_in_a_sentence(page):
    app = page("profiles")
    labelled(app.text_input, "Name").set_value("  ")
    labelled(app.button, "Save the profile").click().run()
    assert "needs a name" in app.error[0].value
    assert not profiles(open_database())


def test_an_imported_profile_is_offered_and_a_broken_one_explained(page):
    app = page("profiles")
    labelled(app.file_uploader, "Import a profile").set_value(
        ("p.json", STRICT.to_json().encode(), "application/json")
    ).run()
    assert find(open_database(), "strict") == STRICT
    broken = json.dumps(json.loads(STRICT.to_json()) | {"colour": 1})
    labelled(app.file_uploader, "Import a profile").set_value(("q.json", broken.encode(), "application/json")).run()
    assert "'colour'" in app.error[0].value


def test_choosing_a_profile_sets_every_control_and_a_product_takes_its_default(page, quick_example):
    save(open_database(), STRICT)
    save(open_database(), replace(STRICT, name="usual", default=True, settings=Settings("cellpose-multiscale")))
    save(open_database(), Profile("other", "sand"))
    measure_example()
    app = page("measure")
    assert not app.exception
    app.selectbox(key="profile").select("strict").run()
    assert not app.exception
    assert app.session_state["choices"].settings.settings() == STRICT.settings
    assert app.selectbox(key="measure method").value == "watershed"
    assert app.slider(key="measure foreground").value == 0.5
    # the result shown is judged by it; without a pixel size and a validation nothing is decided
    assert any("NOT DECIDABLE" in w.value for w in app.warning)
    assert app.selectbox(key="profile").options == ["other", "strict", "usual"]
    app.selectbox(key="profile product").select("powder").run()
    assert not app.exception
    assert app.selectbox(key="profile").options == ["strict", "usual"]
    assert app.selectbox(key="profile").value == "usual"
    assert app.selectbox(key="measure method").value == "cellpose-multiscale"
    app.selectbox(key="profile product").select("sand").run()
    assert app.selectbox(key="profile").value is None  # it has no default


def test_methods_show_what_they_drop_crystals_by(page, quick_example):
    """SiMA+ by confidence, the others by Cellpose's flow threshold, or by confidence in runs from before the choice."""
    before = replace(Settings("sima"), instances=Instances(flow_threshold=None))
    save(open_database(), Profile("before", settings=before))
    measure_example()
    app = page("measure")
    keys = {w.key for w in (*app.slider, *app.number_input)}
    assert "measure min confidence" in keys
    assert "measure flow threshold" not in keys
    app.selectbox(key="measure method").select("cellpose-original").run()
    assert not app.exception
    assert app.text_input(key="measure flow threshold").value == "0.4"
    assert "measure min confidence" not in {w.key for w in app.slider}
    app.selectbox(key="profile").select("before").run()
    assert not app.exception
    assert app.text_input(key="measure flow threshold").value == ""
    assert "measure min confidence" in {w.key for w in app.slider}


def test_a_new_validation_changes_the_verdict_on_the_page_at_once(page, quick_example):
    limits = (Limit("mean", 0.1, 5000, unit="px"),)
    save(open_database(), Profile("tiles", kind="tiles", limits=limits, decision_rule="guarded"))
    measure_example()
    app = page("measure")
    app.selectbox(key="profile").select("tiles").run()
    assert any("NOT DECIDABLE" in w.value for w in app.warning)
    assert any(c.value.startswith("Decision rule: Acceptance and rejection guarded by U") for c in app.caption)
    errors = {"mean": [0.01, -0.01, 0.0]}
    usual = Settings()
    validations.keep(Validation("tiles", usual.full_method, 3, errors, usual.conditions), validations.own())
    app.run()
    assert not app.exception
    assert any("PASS" in s.value for s in app.success)


def test_history_finds_reopens_and_approves_a_run(page):
    engine = open_database()
    first, second = measured(), measured(corrected=True)
    keep(engine, first)
    keep(engine, replace(second, details={"sample": "S 7", "operator": "A. Kern"}))
    app = page("history")
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["run"]) == [second.id, first.id]
    labelled(app.text_input, "Search").set_value("s 7 kern").run()
    assert list(app.dataframe[0].value["run"]) == [second.id]
    labelled(app.text_input, "Search").set_value("no such thing").run()
    assert app.dataframe[0].value.empty
    assert not app.exception


def test_the_audit_page_finds_a_changed_file_and_lists_what_was_done(page):
    engine, run = open_database(), measured()
    keep(engine, run)
    save(engine, STRICT, "A. Kern")
    app = page("audit")
    assert not app.exception
    labelled(app.button, "Audit all 2 entries").click().run()
    assert "as it was written" in app.success[0].value
    assert list(app.dataframe[0].value["kind"]) == ["profile", "run"]
    app = page("audit")
    assert labelled(app.button, "Audit what is new (0)").disabled
    ledger.append(engine, "run", "another", {"image_name": "b.png"})
    app.run()
    labelled(app.button, "Audit what is new (1)").click().run()
    assert app.success[0].value.startswith("The record is as it was written since entry 2")
    store.place(run.files["labels"]).write_bytes(b"x")
    labelled(app.button, "Audit all 3 entries").click().run()
    assert run.id in app.error[0].value
    labelled(app.text_input, "Search").set_value("kern").run()
    assert list(app.dataframe[0].value["about"]) == ["strict"]
    assert "Everybody who can reach this address may do everything" in app.info[0].value


def test_an_approval_is_on_record_and_in_the_report(page):
    engine, run = open_database(), replace(measured(), details={"sample": "S 7"})
    keep(engine, run)
    app = page("history")
    choose_runs(app, engine, 0)
    app.run()
    assert not app.exception
    assert "same figures to the last digit" in app.success[0].value
    app.text_input(key=f"approve {run.id}").set_value("B. Alt").run()
    labelled(app.button, "Sign").click().run()
    assert not app.exception
    (entry,) = ledger.entries(engine, "approval", run.id)
    assert entry.who == "B. Alt"
    assert app.success[1].value.startswith("B. Alt, 20")
    assert app.success[1].value.endswith("UTC (approval)")
    issue(engine, ["another", run.id], "PDF", b"the report")
    issue(engine, ["another"], "PDF", b"another's report")
    app.run()
    assert not app.exception
    assert [b.proto.label[:13] for b in app.get("download_button") if "as issued" in b.proto.label] == ["PDF as issued"]


def test_the_trend_is_of_runs_in_one_unit(page):
    engine = open_database()
    one = measured()
    keep(engine, one)
    app = page("history")
    assert "two or more runs" in app.info[0].value
    for _ in range(2):
        keep(engine, replace(measured(), figures=one.figures | {"unit": "µm"}))
    app.run()
    assert not app.exception
    assert any("1 of these runs are not in µm" in c.value for c in app.caption)
    assert not app.info


def test_an_empty_history_says_what_to_do(page):
    app = page("history")
    assert "Go to Measure" in app.info[0].value


def test_a_batch_starts_in_the_background_and_its_failures_are_told(page, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for k in range(2):
        (images / f"{k}.png").write_bytes(png(rng.integers(0, 255, (80, 80)).astype(np.uint8)))
    (images / "broken.png").write_text("no image")
    save(open_database(), STRICT)
    app = page("batch")
    assert "No batch yet" in app.info[0].value
    labelled(app.text_input, "Or a folder on this machine").set_value(str(tmp_path / "nothing")).run()
    labelled(app.button, "Start").click().run()
    assert "There is no" in app.error[0].value
    labelled(app.text_input, "Or a folder on this machine").set_value(str(images)).run()
    app.selectbox(key="batch profile").select("strict").run()
    labelled(app.text_input, "Name of the batch").set_value("Lot 7").run()
    labelled(app.text_input, "Customer").set_value("Hütte").run()
    labelled(app.button, "Start").click().run()
    assert not app.exception
    (folder,) = (p.parent for p in (store.home() / "batches").glob("*/batch.json"))
    end = time.monotonic() + 120
    while (now := batch.progress_of(folder, open_database())).status != "done":
        assert time.monotonic() < end, ((folder / "log.txt").read_text(), now)
        time.sleep(0.5)
    app.run()
    assert not app.exception
    assert app.get("progress")[0].proto.text == "done · 2 of 3 images, 1 failed"
    reasons = app.dataframe[0].value
    assert list(reasons["image"]) == ["broken.png"]
    assert len(recorded(open_database())) == 2
    assert ledger.entries(open_database(), "failure")[0].body["name"] == "broken.png"
    assert len(pd.read_csv(folder / "summary.csv")) == 2
    assert any("Lot 7" in m.value for m in app.markdown)
    assert {b.label for b in app.get("download_button")} == {"PDF report", "Excel workbook", "All results (ZIP)"}
    images = app.dataframe[-1].value
    assert list(images["image"]) == ["0.png", "1.png"]
    assert all(address.startswith("data:image/jpeg;base64,") for address in images["picture"])
    assert set(images["verdict"]) <= {"PASS", "FAIL", "NOT DECIDABLE"}
    assert not any("nan" in average for average in images["average (95 %)"])
    assert all(run.details["customer"] == "Hütte" for run in recorded(open_database()))


def test_the_image_under_way_in_a_batch_is_shown(page, tmp_path):
    folder = store.home() / "batches" / "b"
    (tmp_path / "big_one.png").write_bytes(png(np.zeros((80, 80), np.uint8)))
    batch.prepare(folder, tmp_path, STRICT)
    with working(folder) as reporter:
        reporter(stage="big_one.png: scale 0.5", share=0.4)
        app = page("batch")
        assert not app.exception
        said = app.get("progress")[0].proto
        assert said.text.startswith(r"running · big\_one.png\: scale 0.5 · 0 of 1 images")
        assert said.value == 40


def test_runs_are_reported_together_as_fields_of_one_sample(page):
    engine = open_database()
    for run in (measured(), measured(corrected=True, ground=40)):
        keep(engine, run)
    app = page("history")
    choose_runs(app, engine, 0, 1)
    app.run()
    assert not app.exception
    assert not app.warning
    words = " ".join(h.value for h in app.subheader)
    assert "Two runs compared" in words
    assert "2 runs as fields of one sample" in words
    assert "mean diameter (average crystal size)" in set(app.dataframe[-1].value["figure"])


def test_a_trend_says_where_the_method_changed(page):
    engine, first = open_database(), measured()
    then = replace(first, hashes={"cellpose": "0123abcd" * 8})
    for k, one in enumerate((first, first, then)):
        keep(engine, replace(one, id=f"m{k}"))
    app = page("history")
    assert not app.exception
    said = next(c.value for c in app.caption if "Measured in 2 ways" in c.value)
    assert "sima-plus, 2 runs" in said
    assert "cellpose 0123abcd), 1 run" in said
    (chart,) = app.get("plotly_chart")
    lines = json.loads(chart.proto.spec)["layout"]["shapes"]
    assert [line["x0"] for line in lines if line["x0"] == line["x1"]] == [2.5, 2.5]


def test_runs_of_the_same_image_are_no_two_fields(page):
    engine = open_database()
    for run in (measured(), measured(corrected=True)):
        keep(engine, run)
    app = page("history")
    choose_runs(app, engine, 0, 1)
    app.run()
    assert not app.exception
    assert "would count twice" in app.warning[0].value
    assert "mean diameter (average crystal size)" not in {f for t in app.dataframe for f in t.value.get("figure", [])}


def test_crystals_of_the_runs_found_are_one_population_a_month(page, monkeypatch):
    engine, first = open_database(), measured()
    for k, month in enumerate(("2026-01", "2026-01", "2026-03")):
        monkeypatch.setattr(store, "now", lambda month=month: f"{month}-05T00:00:00+00:00")
        keep(engine, replace(first, id=f"m{k}"))
    keep(engine, replace(first, id="old", files={"labels": first.files["labels"]}))
    app = page("history")
    labelled(app.toggle, "Crystals by month").set_value(True).run()
    assert not app.exception
    table = app.dataframe[1].value
    assert table[["month", "runs", "crystals"]].values.tolist() == [["2026-01", 2, 8], ["2026-03", 1, 4]]
    assert table["mean"].tolist() == pytest.approx([first.figures["average"]["value"]] * 2)
    assert table["D90 by area"].tolist() == pytest.approx([first.figures["area"][2]] * 2)
    assert any("1 of 4 runs are left out" in c.value for c in app.caption)
