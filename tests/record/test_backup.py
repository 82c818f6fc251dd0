import json
import stat
import zipfile

import pytest
from sqlalchemy import text

from crystalseg.record import ledger, store
from crystalseg.record.anchors import anchor
from crystalseg.record.audit import audit
from crystalseg.record.backup import backup, restore
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import recorded
from tests.conftest import keep
from tests.record.test_runs import measured


@pytest.fixture
def made(tmp_path):
    """A back-up of two runs and some words, the record it is of, and the key that signed it."""
    engine = open_database()
    for _ in range(2):
        keep(engine, measured())
    ledger.append(engine, "profile", "Größe ≤ 5 µm", {"x": "日本"}, "A. Kern")
    key = anchor(engine).key
    assert backup(engine, tmp_path / "b.zip") == []
    return tmp_path / "b.zip", engine, key


def another(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_HOME", str(tmp_path / "new"))
    return open_database()


def test_what_is_restored_is_the_record_to_the_last_hash(made, tmp_path, monkeypatch):
    file, old, key = made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new = another(tmp_path, monkeypatch)
    assert restore(new, file) == []
    assert ledger.latest(new) == ledger.latest(old)
    assert anchor(new).key == key
    assert stat.S_IMODE((store.home() / "signing.key").stat().st_mode) == 0o600
    for run in recorded(new):
        assert same_figures(run, reopen(run).measurement.summary)
    ledger.append(new, "profile", "later", {})
    assert list(audit(new)) == []


def test_a_record_that_is_in_use_is_not_overwritten(made):
    file, engine, _ = made
    with pytest.raises(RecordError, match="not empty"):
        restore(engine, file)


def test_a_changed_record_is_backed_up_and_said_to_be_changed(made, tmp_path, monkeypatch):
    _, engine, _ = made
    with engine.begin() as connection:
        connection.execute(text("UPDATE ledger SET who = 'nobody' WHERE number = 2"))
    assert backup(engine, tmp_path / "c.zip") == ledger_problems(engine)
    assert restore(another(tmp_path, monkeypatch), tmp_path / "c.zip") == ledger_problems(engine)


def ledger_problems(engine):
    (problem,) = audit(engine)
    assert "Entry 2" in problem
    return [problem]


def rewritten(file, change):
    """The archive again, its members put through `change`."""
    with zipfile.ZipFile(file) as old:
        members = {name: old.read(name) for name in old.namelist()}
        comment = old.comment
    with zipfile.ZipFile(file, "w") as new:
        new.comment = comment
        for name, data in change(members).items():
            new.writestr(name, data)


def changed_file(members):
    return {n: b"other" if n.startswith("files/") else d for n, d in members.items()}


def outside(members):
    return members | {"files/../../evil": b"x"}


def no_entries(members):
    return {n: d for n, d in members.items() if n != "ledger.jsonl"}


def torn(members):
    return members | {"ledger.jsonl": members["ledger.jsonl"][:-40]}


def too_few(members):
    return members | {"ledger.jsonl": json.dumps([1, 2]).encode()}


@pytest.mark.parametrize("change", [changed_file, outside, no_entries, torn, too_few])
def test_a_damaged_back_up_brings_nothing(made, tmp_path, monkeypatch, change):
    file, *_ = made
    rewritten(file, change)
    new = another(tmp_path, monkeypatch)
    with pytest.raises(RecordError, match="damaged"):
        restore(new, file)
    assert ledger.end(new)[0] == 0
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x03\x04" + bytes(50)])
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(RecordError, match="not a back-up"):
        restore(open_database(), tmp_path / "x.zip")


def test_where_there_is_no_room_no_half_of_a_back_up_is_left(made, tmp_path, monkeypatch):
    _, engine, _ = made

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.write", full)
    with pytest.raises(RecordError, match=r"No space left on device.*No back-up was made"):
        backup(engine, tmp_path / "d.zip")
    assert not list(tmp_path.glob("*d.zip*"))
