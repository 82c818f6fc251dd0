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
    problems, new = ledger_problems(engine), another(tmp_path, monkeypatch)
    with pytest.raises(RecordError, match=r"nothing was restored.*Entry 2.*--damaged"):
        restore(new, tmp_path / "c.zip")
    assert restore(new, tmp_path / "c.zip", damaged=True) == problems


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


def other_types(members):
    return members | {"ledger.jsonl": json.dumps(["1", *[""] * 7]).encode()}


def forged_entry(members):
    entry = [4, "role", "x", "2026-01-01", "x", '{"person": "x", "role": "administrator"}', "0" * 64, "1" * 64]
    return members | {"ledger.jsonl": members["ledger.jsonl"] + json.dumps(entry).encode() + b"\n"}


def last_missing(members):
    return members | {"ledger.jsonl": b"".join(members["ledger.jsonl"].splitlines(True)[:-1])}


def file_missing(members):
    gone = next(name for name in members if name.startswith("files/"))
    return {name: data for name, data in members.items() if name != gone}


def bad_key(members):
    return members | {"signing.key": b"no key, so the back-up is damaged"}


def contents(folder):
    """What is in a folder, by path; not the database, which the test reads itself, and not locks."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if "sqlite" not in path.name and path.suffix != ".lock"}


def test_a_refused_back_up_leaves_key_and_head_of_the_home(made, tmp_path, monkeypatch):
    """Restored into another database, beside a home that another record uses."""
    file, _, key = made
    other = another(tmp_path, monkeypatch)
    ledger.append(other, "profile", "x", {})
    own = anchor(other).key
    before = contents(store.home())
    new = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    for given in ("", own[:16], key[:8]):
        with pytest.raises(RecordError, match="nothing was restored"):
            restore(new, file, given)
        assert contents(store.home()) == before
        assert ledger.end(new)[0] == 0
    assert restore(new, file, key[:16]) == []
    assert anchor(new).key == key
    assert (store.home() / f"signing-{own[:16]}.key").read_bytes() == before[store.home() / "signing.key"]


def test_a_back_up_made_while_others_write_restores(made, tmp_path, monkeypatch):
    _, engine, _ = made
    dumps = json.dumps

    def meanwhile(values):  # each entry that is written to the back-up is followed by another one in the record
        monkeypatch.setattr("crystalseg.record.backup.json.dumps", dumps)
        ledger.append(engine, "profile", "meanwhile", {})
        return dumps(values)

    monkeypatch.setattr("crystalseg.record.backup.json.dumps", meanwhile)
    assert backup(engine, tmp_path / "busy.zip") == []
    end = ledger.end(engine)[0]
    new = another(tmp_path, monkeypatch)
    assert restore(new, tmp_path / "busy.zip") == []
    assert ledger.end(new)[0] in (end - 1, end)


@pytest.mark.parametrize(
    "change",
    [other_types, forged_entry, last_missing, file_missing, bad_key, changed_file, outside, no_entries, torn, too_few],
)
def test_a_damaged_back_up_brings_nothing(made, tmp_path, monkeypatch, change):
    file, *_ = made
    rewritten(file, change)
    new = another(tmp_path, monkeypatch)
    before = contents(store.home())
    with pytest.raises(RecordError, match="damaged"):
        restore(new, file)
    assert ledger.end(new)[0] == 0
    assert contents(store.home()) == before
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
