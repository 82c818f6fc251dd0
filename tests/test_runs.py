import json
from dataclasses import replace
from importlib import import_module

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import JSON, create_engine, text

import crystalseg.jobs  # noqa: F401 - its table is part of the schema
from crystalseg import __version__
from crystalseg.runs import Base, Run, correction_log, home, log_correction, open_database, record, recorded


def run(name="a.png", **changes):
    facts = {
        "image_name": name, "image_sha256": "0" * 64, "region": (0, 0, 5, 6), "um_per_px": 0.5,
        "calibration": "by hand",
        "settings": {"scales": {}}, "hashes": {"sima": "1"}, "versions": {}, "timings": {"fusion": 0.5},
        "figures": {"average": {"value": 3.5}},
    }  # fmt: skip
    return Run(**facts | changes)


def test_a_run_comes_back_as_it_was_recorded():
    engine = open_database()
    first, second = run(created="2026-01-01T00:00:00+00:00"), run("b.png", um_per_px=None, figures=None, region=None)
    record(engine, first)
    record(engine, second)
    back = recorded(open_database())  # another connection
    assert [r.image_name for r in back] == ["b.png", "a.png"]
    assert back[0] == second
    assert json.loads(back[1].to_json()) == json.loads(first.to_json())


def test_the_record_lies_in_the_users_folder():
    open_database()
    assert (home() / "record.sqlite").exists()


def test_every_run_has_its_own_id_and_says_the_software():
    assert run().id != run().id
    assert run().software["crystalseg"] == __version__
    assert "torch" in run().software


def test_runs_that_end_together_keep_their_order():
    engine = open_database()
    for number in range(20):
        record(engine, run(str(number)))
    assert [r.image_name for r in recorded(engine, 20)] == [str(number) for number in reversed(range(20))]


def test_corrections_come_back_in_order_and_by_thresholds():
    engine = open_database()
    for k in range(3):
        log_correction(engine, "job1", "h 0", {"kind": "delete", "ids": [k]}, "A. Kern")
    log_correction(engine, "job1", "h 1", {"kind": "undo"}, "")
    log_correction(engine, "job2", "h 0", {"kind": "undo"}, "")
    rows = correction_log(open_database(), "job1", "h 0")
    assert [row.entry["ids"] for row in rows] == [[0], [1], [2]]
    assert {row.who for row in rows} == {"A. Kern"}
    assert rows[0].when <= rows[2].when
    assert len(correction_log(engine, "job1")) == 4


def test_migrations_lead_to_the_present_schema():
    with open_database().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_record_of_the_first_release_is_kept(tmp_path):
    """Its tables, made without Alembic, and a run in them."""
    url = f"sqlite:///{tmp_path / 'old.sqlite'}"
    old = create_engine(url)
    with old.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        first = import_module("crystalseg.migrations.versions.0001_runs_and_jobs")
        with Operations.context(operations.migration_context):
            first.upgrade()
        values = {c.name: "{}" if isinstance(c.type, JSON) else "x" for c in Base.metadata.tables["runs"].columns}
        del values["corrections"], values["um_per_px"]
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO runs ({', '.join(values)}) VALUES ({places})"), values)
    (run,) = recorded(open_database(url))
    assert run.image_name == "x"
    assert run.corrections == []
    record(open_database(url), replace(run, id="y"))
