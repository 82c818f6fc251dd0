"""Back up the whole record to one file and restore it: the entries, the files they name, the head, the signing key and
this machine's own validations."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from crystalseg.record import ledger, store
from crystalseg.record.audit import audit, files_of
from crystalseg.record.database import RecordError, explained
from crystalseg.record.ledger import EntryRow

FORMAT = "crystalseg record 1"
# Files beside the database in the home folder. The owner keeps a key that is elsewhere ($CRYSTALSEG_SIGNING_KEY).
BESIDE = ("record.head", "signing.key", "validation.json")
_COLUMNS = tuple(column.name for column in EntryRow.__table__.columns)


def backup(engine: Engine, path: Path) -> list[str]:
    """Write the record to `path`, whole or not at all, and return what an audit finds wrong with the record.

    Only its owner can read the file, because it holds the signing key. Raises RecordError if it cannot be written.
    """
    try:
        with store.written_safely(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            os.fchmod(file.fileno(), 0o600)
            archive.comment = FORMAT.encode()
            named: dict[str, None] = {}
            with archive.open("ledger.jsonl", "w", force_zip64=True) as lines, Session(engine) as session:
                for row in session.scalars(select(EntryRow).order_by(EntryRow.number)).yield_per(500):
                    lines.write(json.dumps([getattr(row, c) for c in _COLUMNS]).encode() + b"\n")
                    named |= dict.fromkeys(files_of(row).values())
            for sha256 in named:
                if store.place(sha256).exists():
                    archive.write(store.place(sha256), f"files/{sha256}", zipfile.ZIP_STORED)
            for name in BESIDE:
                if (store.home() / name).exists():
                    archive.write(store.home() / name, name)
    except OSError as error:
        raise RecordError(f"{path}: cannot be written ({error.strerror}). No back-up was made.") from error
    return list(audit(engine))


def restore(engine: Engine, path: Path) -> list[str]:
    """Restore a back-up into an empty record, and return what an audit then finds wrong with it.

    The files are restored first and the entries in one transaction, so an interrupted restore can be repeated. Raises
    RecordError if the file is damaged or not a back-up, or if the record is not empty.
    """
    if ledger.end(engine)[0]:
        raise RecordError("This record is not empty. Restore into a new one ($CRYSTALSEG_HOME, or a new database).")
    rows = entries_in(path, _bring)
    try:
        with Session(engine) as session, session.begin():
            if rows:
                session.execute(insert(EntryRow), rows)
    except DBAPIError as error:
        raise RecordError(explained(error)) from error
    return list(audit(engine))


def entries_in(path: Path, bring: Callable[[zipfile.ZipFile], None] = lambda _: None) -> list[dict]:
    """Return the entries of a back-up, after `bring` took the other contents from the archive. Raises RecordError if
    the file is damaged or not a back-up."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment != FORMAT.encode():
                raise RecordError(f"{path} is not a back-up of a record.")
            bring(archive)
            with archive.open("ledger.jsonl") as lines:
                return [dict(zip(_COLUMNS, json.loads(line), strict=True)) for line in lines]
    except RecordError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds of errors for a damaged file
        raise RecordError(f"{path} is damaged, or is not a back-up: {error}.") from error


def _bring(archive: zipfile.ZipFile) -> None:
    for name in archive.namelist():
        if name.startswith("files/"):
            _bring_file(archive, name)
    for name in BESIDE:
        _bring_beside(archive, name)


def _bring_file(archive: zipfile.ZipFile, name: str) -> None:
    data = archive.read(name)
    sha256 = hashlib.sha256(data).hexdigest()
    if name != f"files/{sha256}":
        raise RecordError(f"The back-up is damaged: the content of {name} does not match its name.")
    store.put(data)


def _bring_beside(archive: zipfile.ZipFile, name: str) -> None:
    if name in archive.namelist():
        place = store.home() / name
        if name == "signing.key":
            place.touch(mode=0o600)
            place.write_bytes(archive.read(name))
        else:
            store.write_safely(place, archive.read(name))
