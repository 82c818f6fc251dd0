"""Log first, then show: where the record refuses, nothing is different, whatever was asked for."""

import datetime
import hashlib
from dataclasses import replace

import pytest

from crystalseg.execution import model_files, retention
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.annotations import annotation
from crystalseg.record import (
    annotations,
    approvals,
    checked,
    instruments,
    ledger,
    models,
    people,
    profiles,
    reports,
    runs,
    store,
    validations,
)
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.instruments import Instrument
from crystalseg.record.models import Model
from crystalseg.record.people import Person
from crystalseg.record.profiles import Profile
from tests.conftest import keep
from tests.micrographs.test_annotations import LABELS, micrograph
from tests.record.test_runs import measured

SEM = Instrument("SEM 2, 500 x", 0.5, 0.004, "2026-01-31")
LATER = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=20)
SCORES = {"areas": 3, "pq": 0.8, "pq_before": 0.6, "errors": {"mean": [0.1, 0.1, 0.1]}}
POWDER = Validation("powder", "sima", 3, {"mean": [0.1] * 3})


@pytest.fixture
def engine():
    """A record with one of each thing."""
    engine = open_database()
    profiles.save(engine, Profile("short", keep_images=10))
    image = store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image, job="job1", id="run1"))
    models.register(engine, Model("magnesia", 0, "folded", "MgO", store.put(b"weights")))
    annotations.keep(engine, annotation(micrograph(), LABELS), "steel", "")
    checked.check(engine, "job1", [(0, 0), (0, 9), (9, 9)])
    return engine


def annotated(engine):
    return annotations.annotations(engine)[0].key


ASKED = {
    "profile": lambda e: profiles.save(e, Profile("new")),
    "profile removed": lambda e: profiles.remove(e, "short"),
    "calibration": lambda e: instruments.save(e, SEM),
    "validation": lambda e: validations.keep_own(e, POWDER),
    "area checked": lambda e: checked.check(e, "job1", [(0, 0), (0, 20), (20, 20)]),
    "areas cleared": lambda e: checked.clear(e, "job1"),
    "annotation": lambda e: annotations.keep(e, annotation(micrograph(), LABELS), "iron", ""),
    "annotation removed": lambda e: annotations.remove(e, annotated(e)),
    "model": lambda e: models.register(e, Model("magnesia", 0, "folded", "MgO", store.put(b"more"))),
    "model retired": lambda e: models.retire(e, "magnesia:1"),
    "model validated": lambda e: models.scored(e, models.find(e, "magnesia:1"), SCORES),
    "role": lambda e: people.give_role(e, "a@b.c", "administrator", ""),
    "sign-in": lambda e: people.note_sign_in(e, Person("a@b.c", "A", "viewer", 1.0)),
    "approval": lambda e: approvals.approve(e, "run1", "A. Kern"),
    "signature": lambda e: approvals.approve(e, "run1", "A. Kern", "review"),
    "report": lambda e: reports.issue(e, ["run1"], "PDF", b"a report"),
    "run": lambda e: runs.record(e, replace(runs.find(e, "run1"), id="run2"), {}),
    "deletion": lambda e: retention.retain(e, LATER),
}


def shown(engine):
    """All that is in force: the entries, and what lies beside the record. Of files in the store only those that
    entries name: another one is nothing until an entry says what it is."""
    entries = [e for kind in ledger.KINDS for e in ledger.entries(engine, kind)]
    named = {sha256 for e in entries for sha256 in ledger.files_in(e.body).values()}
    named |= {e.body.get("image_sha256", "") for e in entries}
    files = {}
    for path in sorted(store.home().rglob("*")):
        beside = not path.name.startswith("record.sqlite") and path.suffix != ".lock"
        if path.is_file() and beside and (path.parent.parent.name != "files" or path.name in named):
            files[path.relative_to(store.home())] = hashlib.sha256(path.read_bytes()).hexdigest()
    return entries, files


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_record_refuses_is_not_done(engine, monkeypatch, asked):
    before = shown(engine)

    def refuse(*_, **__):
        raise RecordError("The record cannot be written.")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "append", refuse)
        with pytest.raises(RecordError):
            ASKED[asked](engine)
    assert shown(engine) == before
    ASKED[asked](engine)
    assert shown(engine) != before  # it is what would have been done


def test_each_kind_of_entry_that_changes_what_is_shown_is_tried():
    """A new kind of entry has its case above, or is one of these."""
    elsewhere = {"correction", "track", "series"}  # tests/execution
    no_state = {"failure", "time-stamp"}
    names = {"area checked": "checked", "areas cleared": "checked", "model retired": "retirement"}
    names |= {"model validated": "scores", "profile removed": "profile", "annotation removed": "annotation"}
    assert {names.get(asked, asked) for asked in ASKED} | elsewhere | no_state == set(ledger.KINDS)


def test_what_is_on_record_of_a_model_is_used_also_after_an_interruption(engine):
    model = models.scored(engine, models.find(engine, "magnesia:1"), SCORES)
    assert not validations.own().exists()  # stopped just here
    validations.keep_model(model)
    own = validations.own().read_bytes()
    assert [v.method for v in validations.validations() if v.kind == "MgO"] == ["sima-plus@folded:magnesia:1"]
    validations.keep_model(model)
    assert validations.own().read_bytes() == own
    assert model_files.validations is validations


def test_an_entry_stands_also_where_its_end_cannot_be_noted(engine, monkeypatch):
    """The disk is full just after the record was written."""

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write_head", full)
        entry = ledger.append(engine, "profile", "late", {"removed": True})
    assert ledger.end(engine) == (entry.number, entry.hash)
