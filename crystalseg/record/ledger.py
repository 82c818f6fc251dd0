"""The record's one table. Entries are only ever added, and each carries the hash of the entry before it.

Changing, inserting or deleting an entry breaks the chain, and an audit says where. A file beside the record also holds
the last entry's hash, so that an audit finds entries missing at the end.
"""

import hashlib
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Engine, Index, Integer, Select, String, Text, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from crystalseg.errors import UserError
from crystalseg.micrographs.names import visible
from crystalseg.record import store
from crystalseg.record.database import RecordError, explained

FIRST = "0" * 64  # the previous hash of the first entry
LONGEST_NAME = 255
# The kinds of entries, and their names for people.
KINDS = {
    "run": "runs",
    "correction": "corrections",
    "approval": "approvals",
    "signature": "other signatures",
    "report": "reports handed out",
    "failure": "failures in batches",
    "profile": "profiles",
    "calibration": "calibrations",
    "validation": "validations",
    "checked": "areas checked",
    "annotation": "labelled images",
    "model": "models",
    "scores": "validations of models",
    "retirement": "models retired",
    "series": "series",
    "track": "corrections of tracks",
    "role": "changes of roles",
    "sign-in": "sign-ins",
    "time-stamp": "time stamps",
    "deletion": "deletions",
}
_log = logging.getLogger(__name__)
PATIENCE = 30.0  # s for which `append` retries while other processes write


class Base(DeclarativeBase):
    pass


class StaleError(UserError):
    """Somebody else wrote about the same subject meanwhile, and nothing was written. The message is one sentence for
    the user."""


class EntryRow(Base):
    """The row of an `Entry`. `number` is the key, so that one of two writers with the same number must retry."""

    __tablename__ = "ledger"
    __table_args__ = (Index("ix_ledger_kind_subject", "kind", "subject"),)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(64))
    created: Mapped[str] = mapped_column(String(32))
    who: Mapped[str] = mapped_column(String(LONGEST_NAME))
    body: Mapped[str] = mapped_column(Text)
    previous: Mapped[str] = mapped_column(String(64), unique=True)
    hash: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True)
class Entry:
    """An entry of the record.

    number: 1, 2, …
    kind: One of KINDS.
    subject: The id or name of what the entry is about.
    created: The time, UTC, ISO 8601.
    who: The person who wrote it, or "".
    body: JSON-ready facts.
    previous, hash: The chain.
    """

    number: int
    kind: str
    subject: str
    created: str
    who: str
    body: dict
    previous: str
    hash: str


def digest(number: int, kind: str, subject: str, created: str, who: str, body: str, previous: str) -> str:
    """Return the hash of an entry: SHA-256 of its fields as a JSON list. `body` is the JSON text as stored."""
    text = json.dumps([number, kind, subject, created, who, body, previous], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def is_intact(row: Any) -> bool:
    """Return whether a stored entry, with all its columns, still has the hash that it was written with."""
    facts = (row.number, row.kind, row.subject, row.created, row.who, row.body, row.previous)
    return digest(*facts) == row.hash


def append(
    engine: Engine,
    kind: str,
    subject: str,
    body: dict,
    who: str = "",
    once: bool = False,
    after: int | None = None,
    after_any: int | None = None,
) -> Entry:
    """Add an entry and return it. With `once`, return an existing entry of this kind and subject instead of adding one.

    `after` is the number of the last entry of this kind and subject that the writer has seen, 0 for none. If there is a
    later one, StaleError is raised, because the new entry depends on what the writer saw. `after_any` does the same for
    the last entry of this kind about any subject. Several processes may append at once. Raises RecordError if the
    record cannot be written or stays busy for PATIENCE; nothing is written then.
    """
    text = json.dumps(body, sort_keys=True)
    who = visible(who)[:LONGEST_NAME]
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with Session(engine) as session, session.begin():
                # Read first: whatever is written after this makes the new entry collide with it, so that the checks
                # below, which are made again then, have seen every entry before the new one.
                last = session.scalars(select(EntryRow).order_by(EntryRow.number.desc()).limit(1)).first()
                if once and (old := session.scalars(_about(kind, subject).limit(1)).first()):
                    return _entry(old)
                for seen, about in ((after, _of(kind, subject)), (after_any, (EntryRow.kind == kind,))):
                    if seen is not None and session.scalar(
                        select(EntryRow.number).where(*about, EntryRow.number > seen).limit(1)
                    ):
                        raise StaleError("Somebody else has just changed this. Look at the change, and try again.")
                number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
                # never earlier than the previous entry, even if the clock was set back
                created = max(store.now(), last.created) if last else store.now()
                facts = (number, kind, subject, created, who, text, previous)
                row = EntryRow(
                    number=number,
                    kind=kind,
                    subject=subject,
                    created=created,
                    who=who,
                    body=text,
                    previous=previous,
                    hash=digest(*facts),
                )
                session.add(row)
                session.flush()
                entry = _entry(row)
        except DBAPIError as error:
            # Another process was faster, or holds the file.
            again = isinstance(error, IntegrityError) or _is_busy(error)
            if not again or time.monotonic() > end:
                raise RecordError(explained(error)) from error
            time.sleep(random.uniform(0.001, 0.05))
            continue
        try:
            write_head(entry.number, entry.hash)
        except OSError:  # the entry is valid anyway, and the next one updates the head
            _log.warning("The last entry of the record could not be noted in %s.", head_file(), exc_info=True)
        return entry


def _is_busy(error: DBAPIError) -> bool:
    """Return whether the error says, in SQLite's or PostgreSQL's words, that another process is in the way."""
    return any(words in str(error.orig) for words in ("locked", "busy", "serialize", "deadlock"))


def entries(
    engine: Engine,
    kind: str,
    subject: str | None = None,
    prefix: str = "",
    before: int | None = None,
    after: int = 0,
    containing: str = "",
) -> list[Entry]:
    """Return the entries of a kind, oldest first.

    They can be restricted to one subject, to subjects that begin with `prefix`, to numbers below `before` and above
    `after`, and to bodies whose JSON text contains a text. Numbers give the order even if the clock was set back.
    """
    wanted = _about(kind, subject)
    if after:
        wanted = wanted.where(EntryRow.number > after)
    if before is not None:
        wanted = wanted.where(EntryRow.number < before)
    if prefix:
        wanted = wanted.where(*_begins(engine, prefix))
    if containing:
        wanted = wanted.where(EntryRow.body.contains(containing, autoescape=True))
    with Session(engine) as session:
        return [_entry(row) for row in session.scalars(wanted)]


def numbered(engine: Engine, numbers: Sequence[int]) -> list[Entry]:
    """Return the entries with these numbers, oldest first, without those that were changed (`is_intact`)."""
    with Session(engine) as session:
        wanted = select(EntryRow).where(EntryRow.number.in_(numbers)).order_by(EntryRow.number)
        return [_entry(row) for row in session.scalars(wanted) if is_intact(row)]


def subjects(engine: Engine, kind: str, prefix: str) -> list[str]:
    """Return the subjects that begin with `prefix` of the entries of a kind, oldest first. This is faster than
    `entries`."""
    wanted = select(EntryRow.subject).where(EntryRow.kind == kind).order_by(EntryRow.number)
    with Session(engine) as session:
        return list(session.scalars(wanted.where(*_begins(engine, prefix))))


def _begins(engine: Engine, prefix: str) -> list[ColumnElement[bool]]:
    """Return the conditions for a subject that begins with `prefix`."""
    plain = EntryRow.subject.startswith(prefix, autoescape=True)
    if engine.dialect.name != "sqlite":
        return [plain]
    return [plain, EntryRow.subject >= prefix, EntryRow.subject < f"{prefix}\U0010ffff"]  # its index finds ranges


def end(engine: Engine) -> tuple[int, str]:
    """Return the number and the hash of the last entry, or 0 and FIRST if there is none."""
    wanted = select(EntryRow.number, EntryRow.hash).order_by(EntryRow.number.desc()).limit(1)
    with Session(engine) as session:
        row = session.execute(wanted).first()
        return (row.number, row.hash) if row else (0, FIRST)


def latest(
    engine: Engine, kinds: Sequence[str] = (), words: str = "", most: int = 100, skipped: int = 0
) -> list[Entry]:
    """Return up to `most` entries, newest first, skipping the first `skipped`. They can be restricted to some kinds,
    and to entries that contain `words` in `subject` or `who`."""
    wanted = select(EntryRow).order_by(EntryRow.number.desc()).limit(most).offset(skipped)
    if kinds:
        wanted = wanted.where(EntryRow.kind.in_(kinds))
    if words:
        named = (c.icontains(words, autoescape=True) for c in (EntryRow.subject, EntryRow.who))
        wanted = wanted.where(or_(*named))
    with Session(engine) as session:
        return [_entry(row) for row in session.scalars(wanted)]


def hash_of(engine: Engine, number: int) -> str | None:
    """Return the hash of the entry with this number, or None if there is none."""
    with Session(engine) as session:
        return session.scalar(select(EntryRow.hash).where(EntryRow.number == number))


def _of(kind: str, subject: str | None) -> list[ColumnElement[bool]]:
    """Return the conditions for a kind and, if given, a subject."""
    return [EntryRow.kind == kind, *([] if subject is None else [EntryRow.subject == subject])]


def _about(kind: str, subject: str | None) -> Select[EntryRow]:
    return select(EntryRow).where(*_of(kind, subject)).order_by(EntryRow.number)


def _entry(row: EntryRow) -> Entry:
    return Entry(row.number, row.kind, row.subject, row.created, row.who, json.loads(row.body), row.previous, row.hash)


def head_file() -> Path:
    """Return the path of the file beside the record that notes its last entry."""
    return store.home() / "record.head"


def write_head(number: int, sha256: str) -> None:
    """Note the last entry in the head file."""
    store.write_safely(head_file(), f"{number} {sha256}\n".encode())


def files_in(body: dict) -> dict[str, str]:
    """Return the files that an entry's body names: their hashes, by what they are."""
    named = body.get("files", {})
    return named if isinstance(named, dict) else {}
