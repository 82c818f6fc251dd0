"""What happens to good programs on bad days, beside what the tests of each part have; docs/reliability.md lists all."""

import random
import subprocess
import sys
import time

import pytest

from crystalseg.execution.failure import failure
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.record import ledger, profiles, store
from crystalseg.record.audit import audit
from crystalseg.record.corrections import correction_log, log_correction
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reports import issue, reports_of
from crystalseg.segmentation.settings import Instances
from tests.conftest import with_pragma

ISSUER = """
import os
from crystalseg.record.database import open_database
from crystalseg.record.reports import issue
engine = open_database()
while True:
    data = os.urandom(200_000)
    issue(engine, ["r1"], "PDF", data)
    print("issued", flush=True)
"""


def test_reports_that_were_handed_out_outlive_a_kill_in_the_middle_of_the_next(own_home):
    engine, handed = open_database(), 0
    for seed in range(6):
        process = subprocess.Popen([sys.executable, "-c", ISSUER], stdout=subprocess.PIPE, text=True)
        for _ in range(3):
            handed += process.stdout.readline() == "issued\n"
        time.sleep(random.Random(seed).random() / 50)
        process.kill()
        process.wait()
    assert handed == 18
    assert len(reports_of(engine, "r1")) >= handed
    assert list(audit(engine)) == []  # every report on record has its file
    store.put(b"more")


def test_a_clock_that_is_set_back_changes_no_order(own_home, monkeypatch):
    engine = open_database()
    times = iter(["2030-01-01T00:00:05+00:00", "2030-01-01T00:00:03+00:00", "2030-01-01T00:00:01+00:00"])
    monkeypatch.setattr(store, "now", lambda: next(times, "2020-01-01T00:00:00+00:00"))
    profiles.save(engine, Profile("strict", four_eyes=True))
    log_correction(engine, "job1", Instances(), {"kind": "undo"}, "A. Kern")
    run = ledger.append(engine, "run", "r1", {})
    log_correction(engine, "job1", Instances(), {"kind": "redo"}, "A. Kern")
    assert profiles.as_of(engine, "strict", run.number).four_eyes
    assert [one.entry["kind"] for one in correction_log(engine, "job1", before=run.number)] == ["undo"]
    written = [e.created for e in reversed(ledger.latest(engine))]
    assert written == sorted(written)
    assert list(audit(engine)) == []


def test_a_record_that_may_not_be_written_is_said_to_be_so(own_home):
    engine = open_database()
    ledger.append(engine, "run", "r1", {})
    with_pragma(engine, "query_only = 1")
    with pytest.raises(RecordError, match=r"cannot be written\. Check the permissions"):
        ledger.append(engine, "run", "r2", {})
    assert [e.subject for e in ledger.entries(open_database(), "run")] == ["r1"]


def test_what_fails_is_told_in_one_sentence():
    for error in (MemoryError(), OSError(28, "No space left on device", "/x"), MicrographError("a.png: damaged.")):
        told = failure(error)
        assert "\n" not in told
        assert told.rstrip().endswith((".", "d"))


def test_issuing_is_all_or_nothing_on_a_full_disk(own_home, monkeypatch):
    engine = open_database()
    ledger.append(engine, "run", "r1", {})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_safely", full)
    with pytest.raises(OSError, match="No space"):
        issue(engine, ["r1"], "PDF", b"a report")
    assert reports_of(engine, "r1") == []
