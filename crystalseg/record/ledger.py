"""The record's one table: entries that are only ever added, each with the hash of the one before.

Whoever changes, inserts or deletes an entry breaks the chain, and an audit says where. The last entry's hash is also
kept in a file beside the record, so that entries missing at its end are noticed too.
"""

import hashlib
import json
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, Index, Integer, Select, String, Text, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from crystalseg.errors import UserError
from crystalseg.micrographs.names import visible
from crystalseg.record import store
from crystalseg.record.database import RecordError, explained

FIRST = "0" * 64  # what the first entry has for the hash before it
LONGEST_NAME = 255
# What entries are of, and what a person calls them.
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
    "role": "roles given and taken",
    "sign-in": "sign-ins",
    "time-stamp": "time stamps",
    "deletion": "deletions",
}
_log = logging.getLogger(__name__)
PATIENCE = 30.0  # s for which `append` tries, if other processes write all the time


class Base(DeclarativeBase):
    pass


class StaleError(UserError):
    """Somebody else wrote about the same subject meanwhile; nothing was written. One sentence for the user."""


class EntryRow(Base):
    """See `Entry`. `number` is the key, so that of two writers with the same number one has to try again."""

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
    """number: 1, 2, …; kind: what it is (run, correction, report, …); subject: what it is about, an id or a name; who:
    by whom, or ""; body: JSON-ready; previous, hash: the chain."""

    number: int
    kind: str
    subject: str
    created: str
    who: str
    body: dict
    previous: str
    hash: str


def digest(number: int, kind: str, subject: str, created: str, who: str, body: str, previous: str) -> str:
    """An entry's hash: SHA-256 of its fields as a JSON list; `body` is the JSON text as it is stored."""
    text = json.dumps([number, kind, subject, created, who, body, previous], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def append(
    engine: Engine, kind: str, subject: str, body: dict, who: str = "", once: bool = False, after: int | None = None
) -> Entry:
    """Add an entry and return it; with `once`, the one of this kind and subject if there is one already.

    after: the number of the last entry of this kind and subject that the writer has seen, 0 for none: StaleError if
    there is a later one, because what is written rests on what was seen. Several processes may append at once.
    RecordError if the record cannot be written, or is busy for PATIENCE; nothing is written then.
    """
    text = json.dumps(body, sort_keys=True)
    who = visible(who)[:LONGEST_NAME]
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with Session(engine) as session, session.begin():
                if once and (old := session.scalars(_about(kind, subject).limit(1)).first()):
                    return _entry(old)
                if after is not None and session.scalar(
                    select(EntryRow.number).where(*_of(kind, subject), EntryRow.number > after).limit(1)
                ):
                    raise StaleError("Somebody else changed the same just now: look at what it is, and try again.")
                last = session.scalars(select(EntryRow).order_by(EntryRow.number.desc()).limit(1)).first()
                number, previous = (last.number + 1, last.hash) if last else (1, FIRST)
                # never before the entry before it, also where the clock was set back
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
            # another process was quicker, or holds the file
            again = isinstance(error, IntegrityError) or _is_busy(error)
            if not again or time.monotonic() > end:
                raise RecordError(explained(error)) from error
            time.sleep(random.uniform(0.001, 0.05))
            continue
        try:
            write_head(entry.number, entry.hash)
        except OSError:  # the entry stands all the same; the next one notes the end of both
            _log.warning("The end of the record could not be noted in %s.", head_file(), exc_info=True)
        return entry


def _is_busy(error: DBAPIError) -> bool:
    """Whether another process is in the way, in SQLite's or PostgreSQL's words."""
    return any(words in str(error.orig) for words in ("locked", "busy", "serialize", "deadlock"))


def entries(
    engine: Engine,
    kind: str,
    subject: str | None = None,
    prefix: str = "",
    before: int | None = None,
    after: int = 0,
) -> list[Entry]:
    """Entries of a kind, oldest first; about one subject if it is given, or about those that begin with `prefix`; those
    `before` and `after` a number, which tells order also where the clock was set back."""
    wanted = _about(kind, subject)
    if after:
        wanted = wanted.where(EntryRow.number > after)
    if before is not None:
        wanted = wanted.where(EntryRow.number < before)
    if prefix:
        wanted = wanted.where(*_begins(engine, prefix))
    with Session(engine) as session:
        return [_entry(row) for row in session.scalars(wanted)]


def numbered(engine: Engine, numbers: Sequence[int]) -> list[Entry]:
    """The entries of these numbers, oldest first."""
    with Session(engine) as session:
        wanted = select(EntryRow).where(EntryRow.number.in_(numbers)).order_by(EntryRow.number)
        return [_entry(row) for row in session.scalars(wanted)]


def subjects(engine: Engine, kind: str, prefix: str) -> list[str]:
    """What the entries of a kind are about, where it begins with `prefix`, oldest first; quicker than `entries`."""
    wanted = select(EntryRow.subject).where(EntryRow.kind == kind).order_by(EntryRow.number)
    with Session(engine) as session:
        return list(session.scalars(wanted.where(*_begins(engine, prefix))))


def _begins(engine: Engine, prefix: str) -> list[ColumnElement[bool]]:
    """That a subject begins so."""
    plain = EntryRow.subject.startswith(prefix, autoescape=True)
    if engine.dialect.name != "sqlite":
        return [plain]
    return [plain, EntryRow.subject >= prefix, EntryRow.subject < f"{prefix}\U0010ffff"]  # what its index can find


def end(engine: Engine) -> tuple[int, str]:
    """Number and hash of the last entry; 0 and FIRST while there is none."""
    wanted = select(EntryRow.number, EntryRow.hash).order_by(EntryRow.number.desc()).limit(1)
    with Session(engine) as session:
        row = session.execute(wanted).first()
        return (row.number, row.hash) if row else (0, FIRST)


def latest(
    engine: Engine, kinds: Sequence[str] = (), words: str = "", most: int = 100, skipped: int = 0
) -> list[Entry]:
    """The last entries, newest first, after those `skipped`: of some kinds, with `words` in what they are about or by
    whom."""
    wanted = select(EntryRow).order_by(EntryRow.number.desc()).limit(most).offset(skipped)
    if kinds:
        wanted = wanted.where(EntryRow.kind.in_(kinds))
    if words:
        named = (c.icontains(words, autoescape=True) for c in (EntryRow.subject, EntryRow.who))
        wanted = wanted.where(or_(*named))
    with Session(engine) as session:
        return [_entry(row) for row in session.scalars(wanted)]


def hash_of(engine: Engine, number: int) -> str | None:
    """The hash of an entry, None if there is none of that number."""
    with Session(engine) as session:
        return session.scalar(select(EntryRow.hash).where(EntryRow.number == number))


def _of(kind: str, subject: str | None) -> list[ColumnElement[bool]]:
    """That an entry is of a kind, and about a subject if there is one."""
    return [EntryRow.kind == kind, *([] if subject is None else [EntryRow.subject == subject])]


def _about(kind: str, subject: str | None) -> Select[EntryRow]:
    return select(EntryRow).where(*_of(kind, subject)).order_by(EntryRow.number)


def _entry(row: EntryRow) -> Entry:
    return Entry(row.number, row.kind, row.subject, row.created, row.who, json.loads(row.body), row.previous, row.hash)


def head_file() -> Path:
    """Where the last entry is noted, beside the record."""
    return store.home() / "record.head"


def write_head(number: int, sha256: str) -> None:
    """Note the last entry beside the record."""
    store.write_safely(head_file(), f"{number} {sha256}\n".encode())


def files_in(body: dict) -> dict[str, str]:
    """The files that an entry's body names: hashes, by what they are."""
    named = body.get("files", {})
    return named if isinstance(named, dict) else {}
