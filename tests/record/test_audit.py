"""Audits that go on from the last; what a whole one finds is in test_ledger.py."""

import json
from dataclasses import replace

import pytest
from sqlalchemy import text

from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.uncertainty import Validation
from crystalseg.record import ledger, store, validations
from crystalseg.record.audit import audit, audited
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, register, scored
from crystalseg.record.reports import issue


def change(engine, statement):
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.fixture
def engine():
    """A record of six entries, five of them audited."""
    engine = open_database()
    issue(engine, ["r1"], "PDF", b"report")
    for k in range(4):
        ledger.append(engine, "run", f"r{k}", {"size": k})
    assert audited() is None
    assert list(audit(engine)) == []
    ledger.append(engine, "run", "later", {})
    return engine


def test_what_is_new_is_read_and_the_note_moves_on(engine):
    assert (audited().number, audited().hash) == (5, ledger.hash_of(engine, 5))
    assert list(audit(engine, audited())) == []
    assert audited().number == 6


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE ledger SET who = 'x' WHERE number = 6", "Entry 6 (run later"),
        ("DELETE FROM ledger WHERE number = 6", "ends with entry 5, but 6"),
        ("UPDATE ledger SET previous = 'x' WHERE number = 6", "Entry 6 (run later"),
    ],
)
def test_a_change_of_what_is_new_is_found_and_not_noted(engine, statement, words):
    change(engine, statement)
    (problem,) = audit(engine, audited())
    assert words in problem
    assert audited().number == 5


def test_a_validation_that_is_not_as_it_was_put_on_record_is_found(engine):
    made = Validation("sand", "sima", 3, {"mean": (0.1, -0.2, float("nan"))}, Conditions(text="c 0.3"), {"sima": "ab"})
    validations.keep_own(engine, made)
    model = register(engine, Model("m", 0, "folded", "sand", store.put(b"w")))
    scores = {"pq": 0.5, "areas": 3, "errors": {"mean": [0.1, 0.123456789, 0.3]}}
    validations.keep(scored(engine, model, scores).validation, validations.own())
    assert list(audit(engine)) == []
    validations.keep(replace(made, errors={"mean": (0.0, 0.0, 0.0)}), validations.own())
    (problem,) = audit(engine, audited())
    assert problem.startswith("The validation of sima on sand in validation.json differs from the one on record")
    validations.own().write_text("[3")
    (problem,) = audit(engine)
    assert "validation.json is damaged" in problem


def test_a_record_that_is_another_is_read_from_its_beginning(engine):
    change(engine, "UPDATE ledger SET hash = 'x' WHERE number = 5")
    change(engine, "UPDATE ledger SET who = 'x' WHERE number = 2")
    problems = list(audit(engine, audited()))
    assert "not the one audited on" in problems[0]
    assert any("Entry 2" in problem for problem in problems)


def test_what_was_audited_is_not_read_again_but_by_a_whole_audit(engine):
    (sha256,) = {sha256 for e in ledger.entries(engine, "report") for sha256 in ledger.files_in(e.body).values()}
    store.place(sha256).unlink()
    assert list(audit(engine, audited())) == []
    assert "missing" in next(audit(engine))


@pytest.mark.parametrize("note", ["", "[]", json.dumps({"number": 5}), "\0"])
def test_a_damaged_note_is_none(engine, note):
    (store.home() / "record.audited").write_text(note)
    assert audited() is None


def test_an_older_head_that_is_right_is_no_finding(engine):
    """Of two writers the first may note the end last."""
    ledger.write_head(4, ledger.hash_of(engine, 4))
    assert list(audit(engine, audited())) == []
