"""Whether the record is as it was written: its chain, its end, the files it names, and the validations beside it.

An audit that found nothing is noted beside the record, with the entry it came to: the next may go on from there.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from crystalseg.record import ledger, store, validations
from crystalseg.record.ledger import FIRST, EntryRow

GOOD = "The record is as it was written."
_COLUMNS = EntryRow.__table__.columns  # rows of these are several times quicker to read than objects


@dataclass(frozen=True)
class Audited:
    """The last audit that found nothing: up to which entry, its hash, and when, ISO 8601."""

    number: int
    hash: str
    when: str


def audited() -> Audited | None:
    """The last audit that found nothing, if one is noted."""
    try:
        return Audited(**json.loads(_note().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def audit(engine: Engine, since: Audited | None = None) -> Iterator[str]:
    """A sentence for each thing that is not as it was written; nothing if all is. Of the whole record and all files, or
    of what was added `since` an audit; entries before it, and their files, are then taken as that found them."""
    good, start = True, store.now()
    head = _head()  # before the entries are read: those written meanwhile come after it
    last, previous = 0, FIRST
    if since is not None and ledger.hash_of(engine, since.number) == since.hash:
        last, previous = since.number, since.hash
    elif since is not None:
        good = False
        yield f"Entry {since.number} is not the one that was audited on {since.when[:10]}; all entries are read again."
    with Session(engine) as session:
        gone = select(EntryRow.subject, EntryRow.number).where(EntryRow.kind == "deletion").order_by(EntryRow.number)
        deleted = {row.subject: row.number for row in session.execute(gone)}
        wanted = select(*_COLUMNS).where(EntryRow.number > last).order_by(EntryRow.number)
        read: dict[str, str] = {}
        for row in session.execute(wanted.execution_options(yield_per=2000)):
            for problem in (*_chain(row, last, previous), *_files(row, deleted, read)):
                good = False
                yield problem
            previous, last = row.hash, row.number
    for problem in (*_end(engine, last, head), *validations.unrecorded(engine)):
        good = False
        yield problem
    if good:
        store.write_safely(_note(), json.dumps(asdict(Audited(last, previous, start))).encode())


def _note() -> Path:
    return store.home() / "record.audited"


def _chain(row: Any, last: int, previous: str) -> Iterator[str]:
    """What is wrong with an entry and its place after the `last`."""
    if row.number != last + 1:
        yield f"Entry {last + 1} is missing."
    if ledger.digest(*row[:-1]) != row.hash:
        yield f"Entry {row.number} ({row.kind} {row.subject}, {row.created[:19]}) was changed."
    elif row.previous != previous:
        yield f"Entry {row.number} does not follow the one before it."


def _head() -> tuple[int, str] | str:
    """The last entry by the file beside the record, number and hash; or what is the matter with the file."""
    try:
        number, sha256 = ledger.head_file().read_text().split()
        return int(number), sha256
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError):
        return "damaged"


def _end(engine: Engine, last: int, head: tuple[int, str] | str) -> Iterator[str]:
    """What is wrong with the end of the record, by what its head says."""
    if isinstance(head, str):
        if last or head == "damaged":
            yield f"{ledger.head_file().name} is {head}: whether the record ended with entry {last} cannot be told."
        return
    number, sha256 = head
    if number > last:
        yield f"The record ends with entry {last}, but {number} were written."
    elif number and ledger.hash_of(engine, number) != sha256:
        yield f"Entry {number} is not the one that was written."


def _files(row: Any, deleted: Mapping[str, int], read: dict[str, str]) -> Iterator[str]:
    """What is wrong with the files an entry names; those `deleted` by a later entry need not be there. `read`: what was
    found of files by hash; each is read once."""
    for what, sha256 in files_of(row).items():
        if deleted.get(sha256, 0) >= row.number and not store.place(sha256).exists():
            continue
        if sha256 not in read:
            try:
                store.checked(sha256)
                read[sha256] = ""
            except store.StoreError as error:
                read[sha256] = str(error)
        if read[sha256]:
            yield f"{row.kind} {row.subject}, {what}: {read[sha256]}"


def files_of(row: Any) -> dict[str, str]:
    """As `ledger.files_in`, of an entry as it is stored; none if it was changed beyond reading, which an audit says."""
    if '"files"' not in row.body:  # a correction or an approval, say, which need not be read then
        return {}
    try:
        return ledger.files_in(json.loads(row.body))
    except (json.JSONDecodeError, AttributeError):
        return {}
