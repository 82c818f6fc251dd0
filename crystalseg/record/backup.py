"""Back up the whole record to one file and restore it: the entries, the files they name, the head, the signing key and
this machine's own validations."""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from crystalseg.record import ledger, store
from crystalseg.record.anchors import public_key
from crystalseg.record.audit import audit, chained, files_of
from crystalseg.record.database import RecordError, explained
from crystalseg.record.ledger import EntryRow

FORMAT = "crystalseg record 1"
# Files beside the database in the home folder. The owner keeps a key that is elsewhere ($CRYSTALSEG_SIGNING_KEY).
HEAD, KEY = "record.head", "signing.key"
BESIDE = (HEAD, KEY, "validation.json")
_COLUMNS = tuple(column.name for column in EntryRow.__table__.columns)


def backup(engine: Engine, path: Path) -> list[str]:
    """Write the record to `path`, whole or not at all, and return what an audit finds wrong with the record.

    Only its owner can read the file, because it holds the signing key. Raises RecordError if it cannot be written.
    """
    try:
        with store.written_safely(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            os.fchmod(file.fileno(), 0o600)
            archive.comment = FORMAT.encode()
            # Before the entries: what is written meanwhile is in none of the parts, or in the entries only.
            beside = {name: (store.home() / name).read_bytes() for name in BESIDE if (store.home() / name).exists()}
            named: dict[str, None] = {}
            head, followed = beside.get(HEAD, b"").split(), False
            with archive.open("ledger.jsonl", "w", force_zip64=True) as lines, Session(engine) as session:
                for row in session.scalars(select(EntryRow).order_by(EntryRow.number)).yield_per(500):
                    lines.write(json.dumps([getattr(row, c) for c in _COLUMNS]).encode() + b"\n")
                    named |= dict.fromkeys(files_of(row).values())
                    if head == _head(row) or followed:  # the noted end is right, so that the end read is the end
                        followed, beside[HEAD] = True, b"%b %b\n" % tuple(_head(row))
            for sha256 in named:
                if store.place(sha256).exists():
                    archive.write(store.place(sha256), f"files/{sha256}", zipfile.ZIP_STORED)
            for name, data in beside.items():
                archive.writestr(name, data)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written ({error.strerror}). No back-up was made.") from error
    return list(audit(engine))


def _head(row: Any) -> list[bytes]:
    """Return what the head file says if this is the last entry."""
    return [str(row.number).encode(), row.hash.encode()]


def restore(engine: Engine, path: Path, key: str = "", damaged: bool = False) -> list[str]:
    """Restore a back-up into an empty record, and return what an audit then finds wrong with it.

    key: The first 16 or more digits of the public key of the back-up, needed if the home folder has another key. That
    one is kept beside it.
    damaged: Also restore a record that is not as it was written.

    Everything is verified in a new folder before anything is replaced: a back-up that is refused changes nothing. The
    entries are restored last, in one transaction, so an interrupted restore can be repeated. Raises RecordError if the
    back-up is refused, or if the record is not empty.
    """
    if ledger.end(engine)[0]:
        raise RecordError("This record is not empty. Restore into a new one ($CRYSTALSEG_HOME, or a new database).")
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=store.home()) as folder:
        staged = Path(folder)
        rows = entries_in(path, lambda archive: _stage(archive, staged))
        problems = list(_problems(rows, staged))
        if problems and not damaged:
            more = f" There are {len(problems) - 1} more findings." if problems[1:] else ""
            raise RecordError(
                f"{path}: nothing was restored, because this record is not as it was written: {problems[0]}{more} Use "
                "an earlier back-up, or add --damaged to restore what there is."
            )
        old_key = _other_key(path, staged, key)
        try:
            with Session(engine) as session, session.begin():
                if rows:
                    session.execute(insert(EntryRow), rows)
                _swap(staged, old_key)
        except DBAPIError as error:
            raise RecordError(explained(error)) from error
        except OSError as error:
            raise RecordError(f"{path}: cannot be restored ({error.strerror}). No entry was restored.") from error
    return list(audit(engine))


def _problems(rows: list[dict], staged: Path) -> Iterator[str]:
    """Yield what is wrong with the entries of a back-up, its files, and its end."""
    number, last = 0, ledger.FIRST
    present = {file.name for file in (staged / "files").iterdir()}
    deleted = {row["subject"]: row["number"] for row in rows if row["kind"] == "deletion"}
    for row in (EntryRow(**row) for row in rows):
        yield from chained(row, number, last)
        number, last = row.number, row.hash
        for what, sha256 in files_of(row).items():
            if str(sha256) not in present and deleted.get(str(sha256), 0) < number:
                yield f"{row.kind} {row.subject}, {what}: the file {str(sha256)[:16]}… is missing."
    noted = (staged / HEAD).read_text("utf-8", "replace").split() if (staged / HEAD).exists() else []
    if rows and noted != [str(number), last]:
        yield f"It ends with entry {number}, but that is not the end that was noted ({' '.join(noted)[:30] or 'none'})."


def _other_key(path: Path, staged: Path, given: str) -> str:
    """Return the public key of the home folder if the back-up brings another one, else "". Raises RecordError if that
    was not asked for."""
    brought, own = staged / KEY, store.home() / KEY
    if not brought.exists():
        return ""
    public = public_key(brought.read_bytes())
    old = public_key(own.read_bytes()) if own.exists() else public
    if given and not (len(given) >= 16 and public.startswith(given.lower())):
        raise RecordError(f"{path}: nothing was restored, because it holds the key {public[:16]}…, not {given[:16]}.")
    if old == public:
        return ""
    if not given:
        raise RecordError(
            f"{path}: nothing was restored, because its key {public[:16]}… is not the key {old[:16]}… of {own.parent}. "
            f"Restore into a new $CRYSTALSEG_HOME. If this key is the right one, add --key {public[:16]}."
        )
    return old


def _swap(staged: Path, old_key: str) -> None:
    """Move what was verified to its place. The key of the home folder with the public key `old_key` is kept."""
    for file in (staged / "files").iterdir():
        place = store.place(file.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, place)
    if old_key:
        os.replace(store.home() / KEY, store.home() / f"signing-{old_key[:16]}.key")
    for name in BESIDE:
        if (staged / name).exists():
            os.replace(staged / name, store.home() / name)


def entries_in(path: Path, bring: Callable[[zipfile.ZipFile], None] = lambda _: None) -> list[dict]:
    """Return the entries of a back-up, after `bring` took the other contents from the archive. Raises RecordError if
    the file is damaged or not a back-up."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment != FORMAT.encode():
                raise RecordError(f"{path} is not a back-up of a record.")
            bring(archive)
            with archive.open("ledger.jsonl") as lines:
                return [_entry(json.loads(line)) for line in lines]
    except RecordError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds of errors for a damaged file
        raise RecordError(f"{path} is damaged, or is not a back-up: {error}.") from error


def _entry(values: list) -> dict:
    """Return an entry by column. Raises RecordError if it is none."""
    if [type(value) for value in values] != [int, *[str] * (len(_COLUMNS) - 1)]:
        raise RecordError("The back-up is damaged: an entry has values of other types. Take an earlier one.")
    return dict(zip(_COLUMNS, values, strict=True))


def _stage(archive: zipfile.ZipFile, folder: Path) -> None:
    """Unpack a back-up, except its entries, into a folder, and check each file against its hash."""
    (folder / "files").mkdir()
    for name in archive.namelist():
        if not (name.startswith("files/") or name in BESIDE):
            continue
        data = archive.read(name)
        if name not in BESIDE and name != f"files/{hashlib.sha256(data).hexdigest()}":
            raise RecordError(f"The back-up is damaged: the content of {name} does not match its name.")
        try:
            with (folder / name).open("wb") as file:
                if name == KEY:
                    os.fchmod(file.fileno(), 0o600)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordError(f"The back-up cannot be unpacked ({error.strerror}). Nothing was restored.") from error
