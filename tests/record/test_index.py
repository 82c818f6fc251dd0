import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crystalseg.errors import UserError
from crystalseg.record import index, ledger, store
from crystalseg.record.approvals import approve
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.index import Query
from crystalseg.record.reports import issue, issued, reports_of
from crystalseg.record.runs import Run

FIGURES = {
    "unit": "µm",
    "rule": "exclude",
    "found": 14,
    "counted": 12,
    "border": 2,
    "average": {"value": 3.5, "low": 3.0, "high": 4.0},
    "smallest": 0.5,
    "area_share": 0.4,
    "number": [1.0, 3.0, 6.0],
    "area": [2.0, 4.0, 7.0],
    "largest": 9.0,
}
VERDICT = {
    "limit": {"figure": "mean", "lower": None, "upper": 4.0, "above": None},
    "value": 3.5,
    "expanded": 0.1,
    "unit": "µm",
    "outcome": "pass",
    "why": "",
}

HASHES = {"cellpose": "0123abcd" * 8}
ALL = Query()


def add(engine, identity, who="", **facts):
    """A run on record; its id."""
    blank = Run("a.png", "", None, None, {"method": "sima-plus"}, HASHES, {}, {}, dict(FIGURES))
    ledger.append(engine, "run", identity, replace(blank, id=identity, **facts).to_dict(), who)
    return identity


def listed(engine, query=ALL, **page):
    return index.runs(engine, query, **page)["run"].tolist()


def test_a_row_says_what_the_run_says():
    engine = open_database()
    add(engine, "r1", details={"sample": "Batch 7", "operator": "A. Kern"}, profile="Powder", verdicts=[VERDICT])
    approve(engine, "r1", "M. Vogt")
    (row,) = index.runs(engine).to_dict("records")
    assert row | {"created": ""} == {
        "run": "r1",
        "measurement": "r1",
        "created": "",
        "image": "a.png",
        "sample": "Batch 7",
        "average": 3.5,
        "unit": "µm",
        "verdict": "pass",
        "counted": 12,
        "profile": "Powder",
        "method": "sima-plus@cellpose",
        "weights": "cellpose 0123abcd",
        "corrections": 0,
        "operator": "A. Kern",
        "approved": "M. Vogt",
        "crystals": "",
        "number_d50": 3.0,
        "number_d90": 6.0,
        "area_d50": 4.0,
        "area_d90": 7.0,
        "largest": 9.0,
    }


def test_a_run_without_crystals_has_no_figures():
    engine = open_database()
    add(engine, "r1", figures=None)
    (row,) = index.runs(engine).astype(object).to_dict("records")
    assert row["unit"] == ""
    assert all(row[name] != row[name] or row[name] is None for name in index.FIGURES)


def test_of_a_measurement_s_states_the_approved_or_the_last_stands_for_it():
    engine = open_database()
    for identity in ("found", "corrected", "other"):
        add(engine, identity, job="" if identity == "other" else "job1")
    assert listed(engine) == ["other", "corrected"]
    assert listed(engine, Query(every=True)) == ["other", "corrected", "found"]
    approve(engine, "found", "M. Vogt")
    assert listed(engine) == ["other", "found"]
    approve(engine, "corrected", "M. Vogt")
    assert listed(engine) == ["other", "corrected"]
    assert index.states(engine, "found") == ["corrected", "found"]
    assert index.states(engine, "other") == ["other"]


def test_every_word_has_to_be_there_whatever_its_case():
    engine = open_database()
    add(engine, "r1", image_name="Ö_100%.png", details={"sample": "Batch 7"})
    add(engine, "r2", image_name="o.png", details={"sample": "Batch 8"}, profile="Powder")
    approve(engine, "r1", "Vogt")
    assert listed(engine, Query(("batch",))) == ["r2", "r1"]
    assert listed(engine, Query(("BATCH", "ö_1"))) == ["r1"]
    assert listed(engine, Query(("100%",))) == ["r1"]
    assert listed(engine, Query(("0_",))) == []
    assert listed(engine, Query(("vogt",))) == ["r1"]
    assert listed(engine, Query(profiles=("Powder",))) == ["r2"]
    assert listed(engine, Query(verdicts=("fail",))) == []
    assert index.profiles_used(engine) == ["Powder"]


def test_pages_are_the_list():
    engine = open_database()
    names = [add(engine, f"r{k}") for k in range(7)][::-1]
    assert index.count(engine) == 7
    assert listed(engine, most=3) + listed(engine, most=3, skipped=3) + listed(engine, most=3, skipped=6) == names


def test_reports_are_found_by_run_and_by_file():
    engine = open_database()
    issue(engine, ["r1"], "PDF", b"one")
    both = issue(engine, ["r1", "r2"], "HTML", b"both")
    assert [e.body["form"] for e in reports_of(engine, "r1")] == ["PDF", "HTML"]
    assert [e.body["form"] for e in reports_of(engine, "r2")] == ["HTML"]
    assert issued(engine, both).body["runs"] == ["r1", "r2"]
    with pytest.raises(UserError, match="No report on record"):
        issued(engine, b"other")


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from("ra"), st.integers(0, 5), st.booleans()), max_size=15))
def test_caught_up_step_by_step_it_is_what_it_is_made_at_once(tmp_path_factory, steps):
    """The plain version reads all entries."""
    engine = open_database(f"sqlite:///{tmp_path_factory.mktemp('r') / 'r.sqlite'}")
    plain, runs = {}, 0
    for kind, number, look in steps:
        if kind == "r":
            runs += 1
            add(engine, f"r{runs}", job=f"job{number}")
            plain[f"r{runs}"] = (f"job{number}", "")
        elif f"r{number}" in plain and not plain[f"r{number}"][1]:
            approve(engine, f"r{number}", "Vogt")
            plain[f"r{number}"] = (plain[f"r{number}"][0], "Vogt")
        if look:
            index.catch_up(engine)
    stand = {}
    for name, (job, approved) in plain.items():
        if approved or not plain.get(stand.get(job), ("", ""))[1]:
            stand[job] = name
    assert sorted(listed(engine)) == sorted(stand.values())
    table = index.runs(engine, Query(every=True))
    with engine.begin() as connection:
        connection.execute(text("UPDATE index_state SET hash = 'of another record'"))
    assert index.runs(engine, Query(every=True)).equals(table)


def test_an_index_of_a_record_that_was_replaced_is_made_anew():
    engine = open_database()
    add(engine, "old1"), add(engine, "old2")
    assert len(listed(engine)) == 2
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger"))
    assert listed(engine) == []
    add(engine, "new")
    assert listed(engine) == ["new"]


@pytest.mark.parametrize(
    "body", ["{", "[]", '{"figures": 3, "verdicts": [{}], "details": []}', '{"figures": {"average": 1}}']
)
def test_a_damaged_entry_stops_nothing(body):
    engine = open_database()
    add(engine, "r1")
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger SET body = :body"), {"body": body})
    add(engine, "r2")
    assert listed(engine) == ["r2", "r1"]


def test_several_catch_up_at_once(monkeypatch):
    monkeypatch.setattr(index, "_AT_ONCE", 3)
    engine = open_database()
    for k in range(20):
        add(engine, f"r{k}")
    problems = []

    def ask():
        try:
            assert len(listed(open_database())) == 20
        except Exception as error:  # whatever it is, the test fails with it
            problems.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert store.home().joinpath("record.sqlite").exists()


FORGED = {
    "average": 1.0,
    "verdict": "fail",
    "approved": "M. Vogt",
    "words": "forged",
    "created": "2020-01-01T00:00:00.000000+00:00",
    "number_d90": None,
    "stands": False,
    "measurement": "job9",
    "run": "r9",
    "crystals": "0" * 64,
}


def forge(engine, statement, **values):
    """Change the index as the owner of the database can, without touching the record."""
    index.catch_up(engine)
    with engine.begin() as connection:
        connection.execute(text(statement), values)


def two_states(engine):
    add(engine, "found", job="job1", verdicts=[VERDICT])
    add(engine, "corrected", job="job1", verdicts=[VERDICT])
    add(engine, "other")
    return index.runs(engine, Query(every=True))


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("column", FORGED)
def test_what_is_answered_is_compared_with_the_entries(column, seen):
    engine = open_database()
    as_written = two_states(engine)
    if not seen:
        index._true.clear()
    forge(engine, f"UPDATE run_index SET {column} = :value WHERE run = 'corrected'", value=FORGED[column])
    assert index.runs(engine, Query(every=True)).equals(as_written)
    assert listed(engine) == ["other", "corrected"]


def test_another_state_than_the_one_that_stands_is_not_answered():
    engine = open_database()
    two_states(engine)
    forge(engine, "UPDATE run_index SET stands = (run = 'found') WHERE measurement = 'job1'")
    assert listed(engine) == ["other", "corrected"]


def test_an_approval_that_is_taken_out_of_the_index_is_answered():
    engine = open_database()
    as_found = two_states(engine)
    approve(engine, "found", "M. Vogt")
    assert listed(engine) == ["other", "found"]
    forge(engine, "UPDATE run_index SET approved = '', words = replace(words, ' m. vogt', '')")
    forge(engine, "UPDATE run_index SET stands = (run = 'corrected') WHERE measurement = 'job1'")
    assert not index.runs(engine, Query(every=True)).equals(as_found)
    assert listed(engine) == ["other", "found"]


@pytest.mark.parametrize("column", FORGED)
def test_an_audit_rebuilds_the_index_and_compares(column):
    engine = open_database()
    as_written = two_states(engine)
    assert list(audit(engine)) == []
    forge(engine, f"UPDATE run_index SET {column} = :value WHERE run = 'corrected'", value=FORGED[column])
    found = list(audit(engine))
    assert found
    assert all("index" in problem and problem.startswith("Entry 2") for problem in found)
    assert list(audit(engine)) == []
    assert index.runs(engine, Query(every=True)).equals(as_written)


@pytest.mark.parametrize("table", ["run_index", "report_index"])
def test_an_audit_finds_rows_that_are_missing_from_the_index(table):
    engine = open_database()
    two_states(engine)
    issue(engine, ["found"], "PDF", b"one")
    assert list(audit(engine)) == []
    forge(engine, f"DELETE FROM {table} WHERE run = 'found'")
    (problem,) = audit(engine)
    assert "does not show it" in problem
    assert list(audit(engine)) == []


def test_a_forged_report_is_none_whatever_the_index_says():
    engine = open_database()
    two_states(engine)
    genuine, forged = issue(engine, ["found"], "PDF", b"genuine"), b"forged"
    sha256 = store.put(forged)
    forge(engine, "UPDATE report_index SET sha256 = :sha256", sha256=sha256)
    with pytest.raises(UserError, match="No report on record"):
        issued(engine, forged)
    assert issued(engine, genuine).body["runs"] == ["found"]


def test_reports_of_a_run_are_the_ones_whose_entries_name_it():
    engine = open_database()
    two_states(engine)
    issue(engine, ["found"], "PDF", b"one")
    forge(engine, "UPDATE report_index SET run = 'other'")
    assert reports_of(engine, "other") == []
    forge(engine, "UPDATE report_index SET number = 1")  # the entry of a run
    assert reports_of(engine, "other") == []


@pytest.mark.parametrize("kind", ["run", "approval"])
def test_an_entry_that_was_changed_gives_no_figures_and_no_approval(kind):
    engine = open_database()
    two_states(engine)
    approve(engine, "other", "M. Vogt")
    forge(engine, "UPDATE ledger SET who = 'x', body = replace(body, '3.5', '2.5') WHERE kind = :kind", kind=kind)
    forge(engine, "UPDATE run_index SET average = 2.5, approved = 'x' WHERE run = 'other'")
    row = index.runs(engine).set_index("run").loc["other"]
    assert row["average"] != 2.5
    assert row["approved"] != "x"
