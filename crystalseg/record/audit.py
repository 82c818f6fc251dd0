"""Check that the record is as it was written: its chain, its end, the files it names, its index, and the validations
beside it.

An audit that finds nothing is noted beside the record with the last entry that it read. The next audit can continue
from there.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from crystalseg.record import index, ledger, store, validations
from crystalseg.record.ledger import FIRST, EntryRow

GOOD = "The record is as it was written."
_COLUMNS = EntryRow.__table__.columns  # rows of columns are read several times faster than ORM objects


@dataclass(frozen=True)
class Audited:
    """The last audit that found nothing: the number and the hash of the last entry it read, and its time (ISO 8601)."""

    number: int
    hash: str
    when: str


def audited() -> Audited | None:
    """Return the last audit that found nothing, or None if none is noted."""
    try:
        return Audited(**json.loads(_note().read_text()))
    except (OSError, ValueError, TypeError):
        return None


def audit(engine: Engine, since: Audited | None = None) -> Iterator[str]:
    """Yield a sentence for each thing that is not as it was written.

    By default the whole record, all files and the index are checked. With `since`, only entries added after that audit
    are checked; earlier entries, their files and their rows in the index are taken as that audit found them. An index
    is compared only with entries that are as they were written.
    """
    good, start, whole = True, store.now(), since is None
    head = _head()  # read before the entries, so that entries written during the audit come after the head
    last, previous = 0, FIRST
    if since is not None and ledger.hash_of(engine, since.number) == since.hash:
        last, previous = since.number, since.hash
    elif since is not None:
        good, whole = False, True
        yield f"Entry {since.number} is not the one audited on {since.when[:10]}, so all entries are audited again."
    with Session(engine) as session:
        gone = select(EntryRow.subject, EntryRow.number).where(EntryRow.kind == "deletion").order_by(EntryRow.number)
        deleted = {row.subject: row.number for row in session.execute(gone)}
        wanted = select(*_COLUMNS).where(EntryRow.number > last).order_by(EntryRow.number)
        read: dict[str, str] = {}
        for row in session.execute(wanted.execution_options(yield_per=2000)):
            broken = list(chained(row, last, previous))
            whole = whole and not broken
            for problem in (*broken, *_files(row, deleted, read)):
                good = False
                yield problem
            previous, last = row.hash, row.number
    of_index = index.audit(engine) if whole else ()
    for problem in (*_end(engine, last, head), *of_index, *validations.unrecorded(engine)):
        good = False
        yield problem
    if good:
        store.write_safely(_note(), json.dumps(asdict(Audited(last, previous, start))).encode())


def _note() -> Path:
    return store.home() / "record.audited"


def chained(row: Any, last: int, previous: str) -> Iterator[str]:
    """Yield what is wrong with an entry and with its place after entry `last`."""
    if row.number != last + 1:
        yield f"Entry {last + 1} is missing."
    if not ledger.is_intact(row):
        yield f"Entry {row.number} ({row.kind} {row.subject}, {row.created[:19]}) was changed."
    elif row.previous != previous:
        yield f"Entry {row.number} does not follow the one before it."


def _head() -> tuple[int, str] | str:
    """Return the number and the hash of the last entry from the file beside the record, or what is wrong with that
    file."""
    try:
        number, sha256 = ledger.head_file().read_text().split()
        return int(number), sha256
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError):
        return "damaged"


def _end(engine: Engine, last: int, head: tuple[int, str] | str) -> Iterator[str]:
    """Yield what is wrong with the end of the record, compared with its head file."""
    if isinstance(head, str):
        if last or head == "damaged":
            yield f"{ledger.head_file().name} is {head}, so it is not known whether entry {last} was the last one."
        return
    number, sha256 = head
    if number > last:
        yield f"The record ends with entry {last}, but {number} entries were written."
    elif number and ledger.hash_of(engine, number) != sha256:
        yield f"Entry {number} is not the one that was written."


def _files(row: Any, deleted: Mapping[str, int], read: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with the files that an entry names.

    Files `deleted` by a later entry may be missing. `read` maps each hash to what was found, so that each file is read
    only once.
    """
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
    """Return `ledger.files_in` of a stored entry. Return {} if its body cannot be read; the audit reports that entry as
    changed."""
    if '"files"' not in row.body:  # such as a correction or an approval; its body need not be parsed
        return {}
    try:
        return ledger.files_in(json.loads(row.body))
    except (json.JSONDecodeError, AttributeError):
        return {}
