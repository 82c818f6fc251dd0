"""The record's one table: entries that are only ever added, each with the hash of the one before.

Whoever changes, inserts or deletes an entry breaks the chain, and `audit` says where. The last entry's hash is also
kept in a file beside the record, so that entries missing at its end are noticed too.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, Integer, Select, String, Text, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from crystalseg.micrographs.names import visible
from crystalseg.record import store
from crystalseg.record.database import RecordError, explained

FIRST = "0" * 64  # what the first entry has for the hash before it
LONGEST_NAME = 255
PATIENCE = 30.0  # s for which `append` tries, if other processes write all the time


class Base(DeclarativeBase):
    pass


class EntryRow(Base):
    """See `Entry`. `number` is the key, so that of two writers with the same number one has to try again."""

    __tablename__ = "ledger"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16), index=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
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


def append(engine: Engine, kind: str, subject: str, body: dict, who: str = "", once: bool = False) -> Entry:
    """Add an entry and return it; with `once`, the one of this kind and subject if there is one already.

    Several processes may append at once. RecordError if the record cannot be written, or is busy for PATIENCE.
    """
    text = json.dumps(body, sort_keys=True)
    who = visible(who)[:LONGEST_NAME]
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with Session(engine) as session, session.begin():
                if once and (old := session.scalars(_about(kind, subject).limit(1)).first()):
                    return _entry(old)
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
        write_head(entry.number, entry.hash)
        return entry


def _is_busy(error: DBAPIError) -> bool:
    """Whether another process is in the way, in SQLite's or PostgreSQL's words."""
    return any(words in str(error.orig) for words in ("locked", "busy", "serialize", "deadlock"))


def entries(
    engine: Engine, kind: str, subject: str | None = None, prefix: str = "", before: int | None = None
) -> list[Entry]:
    """Entries of a kind, oldest first; about one subject if it is given, or about those that begin with `prefix`; those
    `before` a number, which tells order also where the clock was set back."""
    wanted = _about(kind, subject)
    if before is not None:
        wanted = wanted.where(EntryRow.number < before)
    if prefix:
        wanted = wanted.where(EntryRow.subject.startswith(prefix, autoescape=True))
    with Session(engine) as session:
        return [_entry(row) for row in session.scalars(wanted)]


def subjects(engine: Engine, kind: str, prefix: str) -> list[str]:
    """What the entries of a kind are about, where it begins with `prefix`, oldest first; quicker than `entries`."""
    wanted = select(EntryRow.subject).where(EntryRow.kind == kind).order_by(EntryRow.number)
    with Session(engine) as session:
        return list(session.scalars(wanted.where(EntryRow.subject.startswith(prefix, autoescape=True))))


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


def _about(kind: str, subject: str | None) -> Select[EntryRow]:
    wanted = select(EntryRow).where(EntryRow.kind == kind).order_by(EntryRow.number)
    return wanted if subject is None else wanted.where(EntryRow.subject == subject)


def _entry(row: EntryRow) -> Entry:
    return Entry(row.number, row.kind, row.subject, row.created, row.who, json.loads(row.body), row.previous, row.hash)


def _head_file() -> Path:
    return store.home() / "record.head"


def write_head(number: int, sha256: str) -> None:
    """Note the last entry beside the record."""
    store.write_safely(_head_file(), f"{number} {sha256}\n".encode())


def audit(engine: Engine) -> Iterator[str]:
    """Check the whole record: a sentence for each thing that is not as it was written; nothing if all is."""
    previous, last, hashes = FIRST, 0, {}
    with Session(engine) as session:
        gone = select(EntryRow.subject, EntryRow.number).where(EntryRow.kind == "deletion").order_by(EntryRow.number)
        deleted = {row.subject: row.number for row in session.execute(gone)}
        for row in session.scalars(select(EntryRow).order_by(EntryRow.number)).yield_per(500):
            if row.number != last + 1:
                yield f"Entry {last + 1} is missing."
            facts = (row.number, row.kind, row.subject, row.created, row.who, row.body, row.previous)
            if digest(*facts) != row.hash:
                yield f"Entry {row.number} ({row.kind} {row.subject}, {row.created[:19]}) was changed."
            elif row.previous != previous:
                yield f"Entry {row.number} does not follow the one before it."
            previous, last = row.hash, row.number
            hashes[row.number] = row.hash
            yield from _files(row, deleted)
    yield from _head(last, hashes)


def _head(last: int, hashes: dict[int, str]) -> Iterator[str]:
    """What is wrong with the end of the record, by the file that names its last entry."""
    try:
        number, head = _head_file().read_text().split()
        at = int(number)
    except FileNotFoundError:
        if last:
            yield f"{_head_file().name} is missing: whether the record ended with entry {last} cannot be told."
        return
    except (OSError, ValueError):
        yield f"{_head_file().name} is damaged: whether the record ended with entry {last} cannot be told."
        return
    if at > last:
        yield f"The record ends with entry {last}, but {number} were written."
    elif hashes.get(at) != head:
        yield f"Entry {number} is not the one that was written."


def files_in(body: dict) -> dict[str, str]:
    """The files that an entry's body names: hashes, by what they are."""
    named = body.get("files", {})
    return named if isinstance(named, dict) else {}


def files_of(row: EntryRow) -> dict[str, str]:
    """As `files_in`, of an entry as it is stored; none if it was changed beyond reading, which an audit reports."""
    try:
        return files_in(json.loads(row.body))
    except (json.JSONDecodeError, AttributeError):
        return {}


def _files(row: EntryRow, deleted: dict[str, int]) -> Iterator[str]:
    """What is wrong with the files an entry names; those `deleted` by a later entry need not be there."""
    for what, sha256 in files_of(row).items():
        try:
            if deleted.get(sha256, 0) < row.number or store.place(sha256).exists():
                store.get(sha256)
        except store.StoreError as error:
            yield f"{row.kind} {row.subject}, {what}: {error}"
