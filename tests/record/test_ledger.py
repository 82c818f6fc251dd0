import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event, text

import crystalseg
from crystalseg.execution.queue import Queue
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import index, ledger, store
from crystalseg.record.audit import audit
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.reports import issue, reports_of
from crystalseg.segmentation.settings import Settings
from tests.conftest import with_pragma


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the tests'; `control("start")` and `control("stop")`."""

    url: str
    control: Callable[[str], object]


@pytest.fixture(scope="session")
def postgres():
    """A server started for the tests."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = shutil.which("initdb") or (str(found[-1]) if found else None)
    if program is None:
        pytest.skip("PostgreSQL is not installed")
    # Beside pytest's own folders: these only one user may enter.
    home = tempfile.TemporaryDirectory(prefix="postgres-")
    folder = Path(home.name)
    as_user = []
    if os.getuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port = folder / "data", 20000 + os.getpid() % 20000
    run = {"check": True, "cwd": folder, "stdout": subprocess.DEVNULL}
    subprocess.run([*as_user, program, "-D", data, "-A", "trust", "-U", "tester", "--no-sync"], **run)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    ways = {"start": ["-l", folder / "log", "-w", "-o", options], "stop": ["-m", "immediate"]}

    def control(what):
        program_of = Path(program).with_name("pg_ctl")
        subprocess.run([*as_user, program_of, "-D", data, *ways[what], what], **run)

    control("start")
    yield Server(f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres", control)
    control("stop")
    home.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request):
    if request.param == "sqlite":
        yield open_database()
        return
    made = open_database(request.getfixturevalue("postgres").url)
    yield made
    with made.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    made.dispose()


def filled(engine, count=5):
    for k in range(count):
        ledger.append(engine, "run", f"r{k}", {"size": k / 7, "name": "Größe µm"}, "A. Kern")
    return engine


def test_every_kind_of_entry_has_a_name_for_people():
    source = "".join(path.read_text() for path in Path(crystalseg.__file__).parent.rglob("*.py"))
    written = set(re.findall(r'ledger\.append\(\S*engine, "([a-z-]+)"', source))
    assert {"run", "validation", "track"} < written <= set(ledger.KINDS)


def test_entries_come_back_and_follow_each_other(engine):
    filled(engine)
    found = ledger.entries(engine, "run")
    assert [e.number for e in found] == [1, 2, 3, 4, 5]
    assert [e.body["size"] for e in found] == [k / 7 for k in range(5)]
    assert found[0].previous == ledger.FIRST
    assert [e.previous for e in found[1:]] == [e.hash for e in found[:-1]]
    assert ledger.entries(engine, "run", "r3") == [found[3]]
    assert ledger.subjects(engine, "run", "r") == [e.subject for e in found]
    assert ledger.entries(engine, "report") == []
    assert list(audit(engine)) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ledger SET body = replace(body, '0.2857', '0.2858') WHERE number = 3",
        "UPDATE ledger SET who = 'B. Kern' WHERE number = 2",
        "UPDATE ledger SET created = '2020' WHERE number = 4",
        "UPDATE ledger SET subject = 'r9' WHERE number = 1",
        "UPDATE ledger SET kind = 'note' WHERE number = 5",
        "UPDATE ledger SET hash = 'f' WHERE number = 5",
        "DELETE FROM ledger WHERE number = 1",
        "DELETE FROM ledger WHERE number = 3",
        "DELETE FROM ledger WHERE number = 5",
        "DELETE FROM ledger",
        "UPDATE ledger SET number = 9 WHERE number = 5",
    ],
)
def test_any_change_is_found(engine, change):
    filled(engine)
    with engine.begin() as connection:
        assert connection.execute(text(change)).rowcount
    assert list(audit(engine))


def test_a_chain_written_anew_differs_from_its_head(engine):
    filled(engine)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger"))
    head = (store.home() / "record.head").read_bytes()
    filled(engine)
    (store.home() / "record.head").write_bytes(head)
    assert list(audit(engine)) == ["Entry 5 is not the one that was written."]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: file.unlink(), "record.head is missing"),
        (lambda file: file.write_text(""), "record.head is damaged"),
        (lambda file: file.write_text("five fff"), "record.head is damaged"),
        (lambda file: file.write_bytes(b"\xff\xfe\0"), "record.head is damaged"),
    ],
    ids=["missing", "empty", "garbled", "no text"],
)
def test_a_damaged_head_is_a_finding_and_stops_no_audit(engine, damage, words):
    assert list(audit(engine)) == []  # nothing written, nothing missing
    filled(engine)
    damage(store.home() / "record.head")
    (found,) = audit(engine)
    assert words in found


def test_a_record_held_by_others_is_given_up_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "PATIENCE", 0.1)
    monkeypatch.setattr("crystalseg.record.database.BUSY_SECONDS", 0)
    own = open_database(f"sqlite:///{tmp_path / 'r.sqlite'}")
    with sqlite3.connect(tmp_path / "r.sqlite") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RecordError, match="Other programs are using the record"):
            ledger.append(own, "run", "r1", {})
    other.close()
    assert ledger.append(own, "run", "r1", {}).number == 1


def test_a_full_disk_is_not_called_busy(tmp_path):
    own = open_database(f"sqlite:///{tmp_path / 'r.sqlite'}")
    ledger.append(own, "run", "r1", {})
    with_pragma(own, "max_page_count = 1")
    with pytest.raises(RecordError, match="disk that holds the record is full"):
        ledger.append(own, "run", "r2", {"long": "x" * 10**6})
    assert [e.subject for e in ledger.entries(own, "run")] == ["r1"]


def test_a_changed_file_is_found_and_named(engine):
    sha256 = store.put(b"labels")
    ledger.append(engine, "run", "r1", {"files": {"labels": sha256}})
    assert list(audit(engine)) == []
    store.place(sha256).write_bytes(b"labelz")
    (found,) = audit(engine)
    assert found.startswith("run r1, labels:")


def test_once_is_once(engine):
    first = ledger.append(engine, "run", "r1", {"a": 1}, once=True)
    assert ledger.append(engine, "run", "r1", {"a": 2}, once=True) == first
    assert ledger.append(engine, "run", "r1", {"a": 2}).number == 2


WRITER = """
import sys
from crystalseg.record import ledger
from crystalseg.record.database import open_database
engine = open_database(sys.argv[1])
for k in range(25):
    ledger.append(engine, "run", f"{sys.argv[2]}-{k}", {})
    print(k, flush=True)
"""


def test_several_processes_write_one_chain(engine):
    url = engine.url.render_as_string(hide_password=False)
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, url, name]) for name in "abc"]
    assert [w.wait(100) for w in writers] == [0, 0, 0]
    assert len(ledger.entries(engine, "run")) == 75
    assert list(audit(engine)) == []


def test_nothing_shown_as_written_is_lost_when_a_writer_is_killed(engine):
    url = engine.url.render_as_string(hide_password=False)
    shown = []
    for name in "ab":
        writer = subprocess.Popen([sys.executable, "-c", WRITER, url, name], stdout=subprocess.PIPE, text=True)
        for _ in range(7):
            shown.append(f"{name}-{writer.stdout.readline().strip()}")
        writer.kill()
        writer.wait()
    subjects = [e.subject for e in ledger.entries(engine, "run")]
    assert set(shown) <= set(subjects)
    assert len(set(subjects)) == len(subjects)
    assert list(audit(engine)) == []


def test_the_queue_keeps_its_jobs_there_too(engine, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(Queue, "start_workers", lambda self: None)
    job = Queue().submit(Micrograph(np.zeros((40, 50, 3), np.uint8), "a.png", "0" * 64), Settings())
    assert [waiting.id for waiting in Queue().active()] == [job]
    assert (Queue().take(1), Queue().take(0)) == (job, None)
    assert Queue().job(job).worker == 1


def test_a_database_that_goes_and_comes_back_is_used_again(postgres):
    own = open_database(postgres.url)
    ledger.append(own, "run", "r1", {})
    postgres.control("stop")
    try:
        with pytest.raises(RecordError, match="does not answer"):
            ledger.append(own, "run", "r2", {})
        with pytest.raises(RecordError, match="does not answer"):
            open_database(postgres.url)
    finally:
        postgres.control("start")
    assert ledger.append(own, "run", "r3", {}).number == 2
    assert [e.subject for e in ledger.entries(own, "run")] == ["r1", "r3"]
    with own.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    own.dispose()


def test_the_index_answers_from_it(engine):
    for identity, job in (("found", "job1"), ("corrected", "job1"), ("other", "")):
        facts = {"job": job, "image_name": f"{identity}.png", "details": {"sample": "Batch 7"}, "profile": "Powder"}
        ledger.append(engine, "run", identity, facts)
    assert index.runs(engine)["run"].tolist() == ["other", "corrected"]
    ledger.append(engine, "approval", "found", {}, "M. Vogt")
    assert index.runs(engine)["run"].tolist() == ["other", "found"]
    assert index.runs(engine, index.Query(("VOGT", "batch")), most=5)["approved"].tolist() == ["M. Vogt"]
    assert (index.count(engine), index.profiles_used(engine)) == (2, ["Powder"])
    issue(engine, ["found", "other"], "PDF", b"a report")
    assert [e.body["form"] for e in reports_of(engine, "other")] == ["PDF"]


@pytest.mark.parametrize("at", ["ORDER BY ledger.number DESC", "ledger.number >"])
def test_no_entry_is_written_after_one_that_the_writer_has_not_seen(at):
    """Another writer is faster at either of the looks that come before an entry."""
    engine = open_database()
    ledger.append(engine, "correction", "job", {}, "first")
    waiting = ["another"]

    @event.listens_for(engine, "before_cursor_execute")
    def _(_connection, _cursor, statement, *_):
        if at in statement and waiting:
            ledger.append(engine, "correction", "job", {}, waiting.pop())

    with pytest.raises(ledger.StaleError):
        ledger.append(engine, "correction", "job", {}, "late", after=1)
    assert not waiting
    assert [e.who for e in ledger.entries(engine, "correction")] == ["first", "another"]
