import json
import re
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, inspect, text

import crystalseg.execution.queue  # noqa: F401 - its table
from crystalseg import __version__
from crystalseg.errors import UserError
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import Summary, summarise
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.record import ledger, store
from crystalseg.record.audit import audit
from crystalseg.record.corrections import correction_log, log_correction
from crystalseg.record.database import open_database
from crystalseg.record.ledger import Base
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import Run, describe, find, kept_files, recorded
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.corrections.history import History
from crystalseg.segmentation.fusion import Prediction
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Settings
from tests.conftest import discs, keep, png
from tests.test_rooms import PRODUCT


def run(name="a.png", **changes):
    facts = {
        "image_name": name,
        "image_sha256": "0" * 64,
        "region": (0, 0, 5, 6),
        "calibration": Calibration(0.5, "by hand"),
        "settings": {"scales": {}},
        "hashes": {"sima": "1"},
        "versions": {},
        "timings": {"fusion": 0.5},
        "figures": {"average": {"value": 3.5}},
    }
    return Run(**facts | changes)


def test_a_run_comes_back_as_it_was_recorded():
    engine = open_database()
    first, second = run(created="2026-01-01T00:00:00+00:00"), run("b.png", calibration=None, figures=None, region=None)
    keep(engine, first)
    keep(engine, second)
    back = recorded(open_database())  # another connection
    assert [r.image_name for r in back] == ["b.png", "a.png"]
    assert back[0] == second
    assert json.loads(back[1].to_json()) == json.loads(first.to_json())


def test_the_record_lies_in_the_users_folder():
    open_database()
    assert (store.home() / "record.sqlite").exists()


def test_every_run_has_its_own_id_and_says_the_software():
    assert run().id != run().id
    assert run().software["crystalseg"] == __version__
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?|unknown", run().software["commit"])  # which, tests/test_places.py holds
    assert "torch" in run().software


def test_runs_that_end_together_keep_their_order():
    engine = open_database()
    for number in range(20):
        keep(engine, run(str(number)))
    assert [r.image_name for r in recorded(engine)] == [str(number) for number in reversed(range(20))]


def test_corrections_come_back_in_order_and_by_thresholds():
    engine = open_database()
    for k in range(3):
        log_correction(engine, "job1", Instances(), {"kind": "delete", "ids": [k]}, "A. Kern")
    log_correction(engine, "job1", Instances(1.0), {"kind": "undo"}, "")
    log_correction(engine, "job2", Instances(), {"kind": "undo"}, "")
    log = correction_log(open_database(), "job1", Instances())
    assert [one.entry["ids"] for one in log] == [[0], [1], [2]]
    assert {one.instances for one in correction_log(engine, "job1")} == {Instances(), Instances(1.0)}
    assert len(correction_log(engine, "job1")) == 4
    assert {e.who for e in ledger.entries(engine, "correction", "job1")} == {"A. Kern", ""}


def test_migrations_lead_to_the_present_schema():
    with open_database().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_record_of_the_first_releases_is_kept(tmp_path):
    """Their tables, made without Alembic by the first, and what is in them."""
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    old = create_engine(url)
    with old.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        for name in ("0001_runs_and_jobs", "0002_corrections"):
            with Operations.context(operations.migration_context):
                import_module(f"crystalseg.record.migrations.versions.{name}").upgrade()
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0002')"))
        facts = json.loads(run("old.png").to_json())
        names = (
            "id",
            "created",
            "image_name",
            "image_sha256",
            "region",
            "um_per_px",
            "calibration",
            "settings",
            "hashes",
            "versions",
            "software",
            "timings",
            "figures",
            "corrections",
        )
        values = {n: json.dumps(facts[n]) if isinstance(facts[n], dict | list) else facts[n] for n in names}
        connection.execute(text(f"INSERT INTO runs ({', '.join(names)}) VALUES (:{', :'.join(names)})"), values)
        connection.execute(
            text('INSERT INTO corrections (job, choice, who, "when", entry) VALUES (:j, :c, :w, :t, :e)'),
            {"j": "job1", "c": "h 0", "w": "A. Kern", "t": "2026-01-01", "e": '{"kind": "undo"}'},
        )
    engine = open_database(url)
    (kept,) = recorded(engine)
    assert kept == Run.from_dict(facts)
    (one,) = correction_log(engine, "job1")
    assert (one.text, one.instances, one.entry) == ("h 0", None, {"kind": "undo"})
    assert list(audit(engine)) == []
    assert not {"runs", "corrections"} & set(inspect(engine).get_table_names())
    keep(engine, replace(kept, id="y"))
    assert list(audit(open_database(url))) == []


def measured(corrected=False, ground=30):
    """A run of an image in the store, its labels drawn, on this grey, and with a merge and a pore if `corrected`."""
    labels = discs((120, 160), [(30, 40, 18), (30, 100, 25), (90, 60, 22), (90, 120, 12)])
    data = png(np.where(labels > 0, 200, ground).astype(np.uint8))
    store.put(data)
    micrograph = read_micrograph(data, "discs.png")
    empty = Prediction(np.zeros((2, 120, 160), np.float32), np.zeros((120, 160), np.float32))
    confidence = np.linspace(0.5, 0.9, 4).astype(np.float32)
    history = History(labels, confidence, Evidence(micrograph.pixels, ()))
    if corrected:
        history.do(Correction("delete", (4,)))
        history.do(Correction("mark", (3,), mark="pore"))
    found = Segmentation(history.labels, history.confidence, empty, (), None, Settings(), {}, {}, {})
    crystals = measure_crystals(history.labels, None, history.confidence, history.marks)
    summary = summarise(crystals, labels.shape, "exclude")
    kept = kept_files(found.labels, found.confidence, crystals, "exclude")
    for file in kept.values():
        store.put(file)
    return describe(micrograph, found, summary, kept, [c.to_dict() for c in history.log], history.marks)


@pytest.mark.parametrize("corrected", [False, True])
def test_a_run_reopened_has_the_same_figures_to_the_last_digit(corrected):
    made = measured(corrected)
    kept = keep(open_database(), made)
    assert json.loads(kept.to_json()) == json.loads(
        replace(made, files=made.files | {"image": made.image_sha256}).to_json()
    )
    again = reopen(find(open_database(), made.id))
    assert same_figures(again.run, again.measurement.summary)
    assert json.loads(again.run.to_json()) == json.loads(kept.to_json())
    assert again.micrograph.sha256 == made.image_sha256
    assert again.micrograph.shape == again.labels.shape
    assert again.measurement.summary.pores == corrected
    assert not same_figures(again.run, None)


def test_a_run_is_recorded_once():
    engine, made = open_database(), run()
    assert keep(engine, made) == keep(engine, made)
    assert len(recorded(engine)) == 1
    with pytest.raises(UserError, match="no run nothing"):
        find(engine, "nothing")


def test_a_run_written_by_a_later_version_is_refused_in_a_sentence():
    facts = json.loads(run().to_json())
    assert Run.from_dict(facts) == replace(run(), id=facts["id"], created=facts["created"])
    with pytest.raises(UserError, match=r"later version of crystalseg: this version does not know 'colour'"):
        Run.from_dict(facts | {"colour": "red"})


def test_a_changed_labels_file_is_refused():
    made = measured()
    store.place(made.files["labels"]).write_bytes(b"else")
    with pytest.raises(store.StoreError, match="was changed"):
        reopen(made)


def test_what_goes_on_record_as_an_object_comes_back_as_one():
    made = replace(measured(corrected=True), calibration=Calibration(0.25, "SEM 2", 0.004), region=(0, 0, 9, 9))
    facts = json.loads(made.to_json())
    assert (facts["um_per_px"], facts["calibration"], facts["calibration_uncertainty"]) == (0.25, "SEM 2", 0.004)
    again = Run.from_dict(facts)
    assert json.loads(again.to_json()) == facts
    assert isinstance(again.summary, Summary)
    assert json.loads(json.dumps(again.summary.to_dict())) == facts["figures"]
    assert (again.calibration, again.um_per_px) == (made.calibration, 0.25)
    assert again.chosen == Settings()
    assert [c.kind for c in again.log] == ["delete", "mark"]
    assert again.marked == {3: "pore"}


@pytest.mark.parametrize(
    "wrong", [{"average": 3.5}, {"number": [1, 2]}, {"average": {"mean": 3.5}}, {"area": None}, {"average": None}]
)
def test_figures_that_cannot_be_read_are_said_to_be_so(wrong):
    figures = measured().figures
    assert Summary.from_dict(figures | {"written later": 1}) == Summary.from_dict(figures)
    with pytest.raises(UserError, match="cannot be read, because another version wrote them"):
        Summary.from_dict(figures | wrong)


def test_nobody_reads_figures_on_record_by_strings():
    for path in PRODUCT:
        assert not re.search(r"figures(\[['\"]|\.get\(| or \{)", path.read_text()), path
