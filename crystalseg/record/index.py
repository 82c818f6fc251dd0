"""An index of runs, with their figures, and of reports, by run and by file. It is derived from the record's entries and
keeps lists, search and charts fast however many entries there are.

Each query first brings the index up to the end of the record, so its answers are never older than the record. An index
that belongs to another record is rebuilt.

Nothing protects the index itself, so it is only a hint. The runs of an answer are compared with their entries, and an
audit compares the whole index. An index that differs is rebuilt.
"""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from filelock import FileLock
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Engine,
    Float,
    Integer,
    Select,
    String,
    Text,
    bindparam,
    create_engine,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Mapped, Session, aliased, mapped_column

from crystalseg.errors import UserError
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.specification import Verdict, overall
from crystalseg.record import ledger, store
from crystalseg.record.database import RecordError, explained
from crystalseg.record.ledger import Base, EntryRow
from crystalseg.segmentation.settings import Settings, SettingsError

# The figures of a run that have columns.
FIGURES: dict[str, Callable[[Summary], float]] = {
    "average": lambda s: s.average.value,
    "number_d50": lambda s: s.number[1],
    "number_d90": lambda s: s.number[2],
    "area_d50": lambda s: s.area[1],
    "area_d90": lambda s: s.area[2],
    "largest": lambda s: s.largest,
}
_AT_ONCE = 2000  # entries per transaction, so that other writers do not wait long
_COMPARED = 500  # runs per statement; databases limit the number of values in a statement
_INDEXED = ("run", "report", "approval")
_ENTRY = EntryRow.__table__.columns  # rows of columns are read several times faster than ORM objects
_log = logging.getLogger(__name__)
_true: set[str] = set()  # digests of measurements that were compared with their entries, so that each is read once


class RunRow(Base):
    """A run in the index.

    measurement: The job, which all states of one measurement share (as found, corrected, with other thresholds).
    stands: Whether this state counts for its measurement: the last approved one, else the last one.
    words: The text that is searched, in lower case.
    crystals: The hash of its crystals file, or "".
    method: `Settings.short_method`.
    weights: The names of the weights used, each with its hash or version.
    """

    __tablename__ = "run_index"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    run: Mapped[str] = mapped_column(String(64), index=True)
    measurement: Mapped[str] = mapped_column(String(64), index=True)
    created: Mapped[str] = mapped_column(String(32))
    image: Mapped[str] = mapped_column(Text)
    sample: Mapped[str] = mapped_column(Text)
    average: Mapped[float | None] = mapped_column(Float)
    unit: Mapped[str] = mapped_column(String(8))
    verdict: Mapped[str] = mapped_column(String(16))
    counted: Mapped[int | None] = mapped_column(Integer)
    profile: Mapped[str] = mapped_column(String(64))
    method: Mapped[str] = mapped_column(Text)
    weights: Mapped[str] = mapped_column(Text, server_default="")
    corrections: Mapped[int] = mapped_column(Integer)
    operator: Mapped[str] = mapped_column(Text)
    approved: Mapped[str] = mapped_column(Text)
    crystals: Mapped[str] = mapped_column(String(64))
    number_d50: Mapped[float | None] = mapped_column(Float)
    number_d90: Mapped[float | None] = mapped_column(Float)
    area_d50: Mapped[float | None] = mapped_column(Float)
    area_d90: Mapped[float | None] = mapped_column(Float)
    largest: Mapped[float | None] = mapped_column(Float)
    words: Mapped[str] = mapped_column(Text)
    stands: Mapped[bool] = mapped_column(Boolean)


class ReportRow(Base):
    """A report by the number of its entry, one run that it is about, and the hash of its file."""

    __tablename__ = "report_index"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    run: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)


class StateRow(Base):
    """The single row that says up to which entry the index goes."""

    __tablename__ = "index_state"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True)
class Query:
    """A filter on runs.

    words: The searched text of a run contains all of these.
    profiles, verdicts: A run has one of these; empty means any.
    every: Include states that do not stand for their measurement.
    """

    words: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    every: bool = False

    def on(self, wanted: Select[Any]) -> Select[Any]:
        """Restrict a select on runs to the runs that match."""
        for word in self.words:
            wanted = wanted.where(RunRow.words.contains(word.lower(), autoescape=True))
        if self.profiles:
            wanted = wanted.where(RunRow.profile.in_(self.profiles))
        if self.verdicts:
            wanted = wanted.where(RunRow.verdict.in_(self.verdicts))
        return wanted if self.every else wanted.where(RunRow.stands)


def catch_up(engine: Engine) -> None:
    """Bring the index up to the end of the record. Raises RecordError if the database refuses."""
    try:
        while not _caught_up(engine):
            pass
    except DBAPIError as error:
        raise RecordError(explained(error)) from error


def _caught_up(engine: Engine) -> bool:
    """Index the next entries, and return whether all entries are indexed."""
    end = ledger.end(engine)
    with Session(engine) as session:
        state = session.get(StateRow, 1)
        if state is not None and (state.number, state.hash) == end:
            return True
    with _held(engine) as (session, state):
        if state.number and ledger.hash_of(engine, state.number) != state.hash:
            _empty(session, state)
        wanted = select(*_ENTRY).where(EntryRow.number > state.number).order_by(EntryRow.number)
        rows = session.execute(wanted.limit(_AT_ONCE)).all()
        _index(session, rows)
        if rows:
            state.number, state.hash = rows[-1].number, rows[-1].hash
        return not rows


@contextmanager
def _held(engine: Engine) -> Iterator[tuple[Session, StateRow]]:
    """Hold the index, so that no other process writes to it, in a transaction. Yield its session and its state."""
    with FileLock(store.home() / "index.lock"), Session(engine) as session, session.begin():
        state = session.get(StateRow, 1, with_for_update=True)  # other machines may write too
        if state is None:
            state = StateRow(id=1, number=0, hash=ledger.FIRST)
            session.add(state)
        yield session, state


def _empty(session: Session, state: StateRow) -> None:
    """Empty the index, so that the next query rebuilds it."""
    for table in (RunRow, ReportRow):
        session.execute(delete(table))
    state.number, state.hash = 0, ledger.FIRST


@contextmanager
def _rebuilt() -> Iterator[Session]:
    """Yield a session of an empty index in memory, to which `_index` adds entries."""
    memory = create_engine("sqlite://")
    with memory.connect() as connection, Session(connection) as session:
        Base.metadata.create_all(connection, tables=[RunRow.__table__, ReportRow.__table__])  # type: ignore[list-item]
        yield session
    memory.dispose()


def audit(engine: Engine) -> Iterator[str]:
    """Rebuild the index from the entries and compare. Yield a sentence for each run and report that the index showed
    otherwise; such an index is emptied, so that the next query rebuilds it. Raises RecordError if the database
    refuses."""
    catch_up(engine)
    with _rebuilt() as rebuilt:
        last = _follow(engine, rebuilt, 0, ledger.end(engine)[0])
        with _held(engine) as (session, state):
            _follow(engine, rebuilt, last, state.number)
            found = [
                *_differences(session, rebuilt, RunRow, "run"),
                *_differences(session, rebuilt, ReportRow, "report"),
            ]
            if found:
                _empty(session, state)
    yield from found


def _follow(engine: Engine, rebuilt: Session, after: int, last: int) -> int:
    """Add the entries with numbers above `after`, up to `last`, to a rebuilt index. Return `last`."""
    wanted = select(*_ENTRY).where(EntryRow.kind.in_(_INDEXED), EntryRow.number > after, EntryRow.number <= last)
    with Session(engine) as session:
        found = session.execute(wanted.order_by(EntryRow.number).execution_options(yield_per=_AT_ONCE))
        for rows in found.partitions():
            _index(rebuilt, rows)
    return last


def _differences(session: Session, rebuilt: Session, table: type[RunRow | ReportRow], what: str) -> Iterator[str]:
    """Yield a sentence for each row of the index that differs from the rebuilt one."""
    shown, written = (_rows(each, table) for each in (session, rebuilt))
    for number, run in sorted(shown.keys() | written.keys()):
        one, other = shown.get((number, run)), written.get((number, run))
        if one == other:
            continue
        if one is None:
            how = "does not show it"
        elif other is None:
            how = "shows it, but that entry does not say so"
        else:
            how = f"differs in: {', '.join(name for name in one if one[name] != other[name])}"
        yield f"Entry {number}, {what} {run}: the index {how}. The index is rebuilt; the entry is as it was written."


def _rows(session: Session, table: type[RunRow | ReportRow]) -> dict[tuple[int, str], dict[str, Any]]:
    """Return the rows of a table by entry and run."""
    found = session.execute(select(*table.__table__.columns)).mappings()
    return {(row["number"], row["run"]): dict(row) for row in found}


def _index(session: Session, entries: Sequence[Any]) -> None:
    """Add entries to the index in the order in which they were written. An approval that was changed is none."""
    of = {kind: [e for e in entries if e.kind == kind] for kind in _INDEXED}
    of["approval"] = [e for e in of["approval"] if ledger.is_intact(e)]
    bodies = {e.number: _body(e) for e in (*of["run"], *of["report"])}
    runs = [_row(e, bodies[e.number]) for e in of["run"]]
    reports = [row for e in of["report"] for row in _reports(e.number, bodies[e.number])]
    if runs:
        session.execute(insert(RunRow), runs)
    if reports:
        session.execute(insert(ReportRow), reports)
    approved = [{"subject": e.subject, "who": e.who, "said": f" {e.who.lower()}"} for e in of["approval"]]
    if approved:
        named = update(RunRow).where(RunRow.run == bindparam("subject"))
        named = named.values(approved=bindparam("who"), words=RunRow.words + bindparam("said"))
        session.connection().execute(named, approved)
    touched = {run["measurement"] for run in runs}
    subjects = [a["subject"] for a in approved]
    touched.update(session.scalars(select(RunRow.measurement).where(RunRow.run.in_(subjects))))
    _settle(session, touched)


def _settle(session: Session, measurements: Iterable[str]) -> None:
    """Mark the one state that stands for each of the measurements."""
    other = aliased(RunRow)
    order = ((other.approved != "").desc(), other.number.desc())
    first = select(other.number).where(other.measurement == RunRow.measurement).order_by(*order).limit(1)
    settled = update(RunRow).values(stands=RunRow.number == first.scalar_subquery())
    # One value per statement: databases limit the number of values in a statement.
    settled = settled.where(RunRow.measurement == bindparam("about"))
    if abouts := [{"about": measurement} for measurement in measurements]:
        session.connection().execute(settled, abouts)


def _body(entry: Any) -> dict:
    """Parse the body of an entry. Return {} if the entry was changed or cannot be read; an audit reports such an
    entry."""
    if not ledger.is_intact(entry):
        return {}
    try:
        body = json.loads(entry.body)
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _row(entry: Any, body: dict) -> dict[str, Any]:
    """Return the index row of a run."""
    figures, details, settings = (_part(body, name) for name in ("figures", "details", "settings"))
    summary = _summary(figures)
    row = {
        "number": entry.number,
        "run": entry.subject,
        "measurement": str(body.get("job") or entry.subject)[:64],
        "created": entry.created,
        "image": str(body.get("image_name", "")),
        "sample": str(details.get("sample", "")),
        "unit": summary.unit[:8] if summary else "",
        "verdict": _verdict(body),
        "counted": summary.counted if summary else None,
        "profile": str(body.get("profile", ""))[:64],
        "method": _method(settings),
        "weights": _weights(body),
        "corrections": len(body.get("corrections") or ()),
        "operator": str(details.get("operator", "")),
        "approved": "",
        "crystals": str(_part(body, "files").get("crystals", "")),
        "stands": True,
    } | {name: _figure(summary, of) for name, of in FIGURES.items()}
    searched = ("run", "created", "image", "sample", "verdict", "profile", "method", "operator", "unit")
    return row | {"words": " ".join(str(row[name]) for name in searched).lower()}


def _part(body: dict, name: str) -> dict:
    """Return an object from the body of a run, or {} if it is missing."""
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def _method(settings: dict) -> str:
    """Return the method's name with flow network, model and effort, or the recorded text if the settings cannot be
    read."""
    try:
        return Settings.on_record(settings).short_method
    except SettingsError:
        return str(settings.get("method", ""))


def _weights(body: dict) -> str:
    """Return what identifies the weights of a run: their hashes, or the versions that a user's own model states."""
    hashes = {name: str(sha256)[:8] for name, sha256 in _part(body, "hashes").items()}
    return ", ".join(f"{name} {said}" for name, said in (hashes or _part(body, "versions")).items())


def _summary(figures: dict) -> Summary | None:
    """Return the figures of a run, or None if there are none or this version cannot read them."""
    try:
        return Summary.from_dict(figures) if figures else None
    except UserError:
        return None


def _figure(summary: Summary | None, of: Callable[[Summary], float]) -> float | None:
    """Return one figure, or None if the run does not have it."""
    try:
        value = float(of(summary)) if summary else math.nan
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _verdict(body: dict) -> str:
    """Return the overall verdict on a run's limits, or ""."""
    try:
        return overall([Verdict.from_dict(verdict) for verdict in body.get("verdicts", ())]) or ""
    except (KeyError, TypeError, ValueError, UserError):
        return ""


def _reports(number: int, body: dict) -> list[dict[str, Any]]:
    """Return the index rows of a report, one for each run that it is about."""
    (sha256,) = list(ledger.files_in(body).values())[:1] or [""]
    return [{"number": number, "run": run, "sha256": sha256} for run in dict.fromkeys(map(str, body.get("runs", ())))]


def count(engine: Engine, query: Query = Query()) -> int:
    """Return the number of matching runs."""
    return _asked(engine, query.on(select(func.count()).select_from(RunRow)))[0][0]


def runs(
    engine: Engine,
    query: Query = Query(),
    most: int | None = None,
    skipped: int = 0,
    only: Sequence[str] = (),
) -> pd.DataFrame:
    """Return matching runs, newest first, skipping the first `skipped` and returning at most `most`. The columns are
    those of `RunRow`, or those named in `only`."""
    shown = [column for column in RunRow.__table__.columns if column.name not in ("number", "words", "stands")]
    columns = [column for column in shown if not only or column.name in only]
    wanted = query.on(select(RunRow.number, *columns)).order_by(RunRow.number.desc()).limit(most).offset(skipped)
    rows = _asked(engine, wanted)
    if not _compared(engine, [row.number for row in rows]):
        _log.warning("The index of the record differed from the record and is rebuilt.")
        with _held(engine) as held:
            _empty(*held)
        rows = _asked(engine, wanted)
    # Plain tuples: pandas would check every Row object for field names.
    return pd.DataFrame([tuple(row)[1:] for row in rows], columns=[column.name for column in columns])


def _compared(engine: Engine, numbers: Sequence[int]) -> bool:
    """Return whether the index shows these runs as their entries do."""
    parts = [numbers[k : k + _COMPARED] for k in range(0, len(numbers), _COMPARED)]
    # Again: another process may have added an approval between the statements.
    return all(any(_as_written(engine, part) for _ in range(3)) for part in parts)


def _as_written(engine: Engine, numbers: Sequence[int]) -> bool:
    """Return whether the index shows these runs, and the other states of their measurements, as their entries do."""
    alike = select(RunRow.measurement).where(RunRow.number.in_(numbers))
    of_measurement: defaultdict[str, list[Any]] = defaultdict(list)
    hashes: defaultdict[str, list[str]] = defaultdict(list)  # of the entries of runs and approvals, by run
    with Session(engine) as session:
        last = session.scalar(select(StateRow.number)) or 0
        wanted = select(*RunRow.__table__.columns).where(RunRow.measurement.in_(alike)).order_by(RunRow.number)
        for row in session.execute(wanted):
            of_measurement[row.measurement].append(tuple(row))
        runs = select(RunRow.run).where(RunRow.measurement.in_(alike))
        about = (EntryRow.kind.in_(("run", "approval")), EntryRow.subject.in_(runs), EntryRow.number <= last)
        for entry in session.execute(select(EntryRow.subject, EntryRow.hash).where(*about).order_by(EntryRow.number)):
            hashes[entry.subject].append(entry.hash)
        name = [column.name for column in RunRow.__table__.columns].index("run")
        keys = {m: store.digest(rows, [hashes[row[name]] for row in rows]) for m, rows in of_measurement.items()}
        unknown = [m for m, key in keys.items() if key not in _true]
        if not unknown:
            return True
        runs = select(RunRow.run).where(RunRow.measurement.in_(unknown))
        about = (EntryRow.kind.in_(("run", "approval")), EntryRow.subject.in_(runs), EntryRow.number <= last)
        entries = session.execute(select(*_ENTRY).where(*about).order_by(EntryRow.number)).all()
    with _rebuilt() as rebuilt:
        _index(rebuilt, entries)
        written = {tuple(row) for row in rebuilt.execute(select(*RunRow.__table__.columns))}
    if written != {row for m in unknown for row in of_measurement[m]}:
        return False
    _true.update(keys[m] for m in unknown)
    return True


def states(engine: Engine, run: str) -> list[str]:
    """Return the ids of all runs that share a measurement with this run, newest first."""
    measurement = select(RunRow.measurement).where(RunRow.run == run).scalar_subquery()
    wanted = select(RunRow.run).where(RunRow.measurement == measurement).order_by(RunRow.number.desc())
    return [row.run for row in _asked(engine, wanted)]


def profiles_used(engine: Engine) -> list[str]:
    """Return the names of the profiles of all runs on record."""
    wanted = select(RunRow.profile).distinct().where(RunRow.profile != "").order_by(RunRow.profile)
    return [row.profile for row in _asked(engine, wanted)]


def reports(engine: Engine, run: str) -> list[int]:
    """Return the numbers of the entries of a run's reports, oldest first."""
    return _numbers(engine, ReportRow.run == run)


def reports_with(engine: Engine, sha256: str) -> list[int]:
    """Return the numbers of the entries of reports with this file, oldest first."""
    return _numbers(engine, ReportRow.sha256 == sha256)


def _numbers(engine: Engine, about: ColumnElement[bool]) -> list[int]:
    wanted = select(ReportRow.number).distinct().where(about).order_by(ReportRow.number)
    return [row.number for row in _asked(engine, wanted)]


def _asked(engine: Engine, wanted: Select[Any]) -> Sequence[Any]:
    """Bring the index up to date, and return the rows of a select."""
    catch_up(engine)
    with engine.connect() as connection:
        return connection.execute(wanted).all()
