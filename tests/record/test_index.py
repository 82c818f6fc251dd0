import threading
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from crystalseg.errors import UserError
from crystalseg.record import index, ledger, store
from crystalseg.record.approvals import approve
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
