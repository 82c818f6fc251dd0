"""An index of runs, with their figures, and of reports, by run and by file. It is derived from the record's entries and
keeps lists, search and charts fast however many entries there are.

Each query first brings the index up to the end of the record, so its answers are never older than the record. An index
that belongs to another record is rebuilt.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
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
    with FileLock(store.home() / "index.lock"), Session(engine) as session, session.begin():
        state = session.get(StateRow, 1, with_for_update=True)  # other machines may write too
        if state is None:
            state = StateRow(id=1, number=0, hash=ledger.FIRST)
            session.add(state)
        elif state.number and ledger.hash_of(engine, state.number) != state.hash:
            for table in (RunRow, ReportRow):
                session.execute(delete(table))
            state.number, state.hash = 0, ledger.FIRST
        wanted = select(EntryRow.number, EntryRow.kind, EntryRow.subject, EntryRow.created, EntryRow.who, EntryRow.body)
        wanted = wanted.add_columns(EntryRow.hash).where(EntryRow.number > state.number).order_by(EntryRow.number)
        rows = session.execute(wanted.limit(_AT_ONCE)).all()
        _index(session, rows)
        if rows:
            state.number, state.hash = rows[-1].number, rows[-1].hash
        return not rows


def _index(session: Session, entries: Sequence[Any]) -> None:
    """Add entries to the index in the order in which they were written."""
    of = {kind: [e for e in entries if e.kind == kind] for kind in ("run", "report", "approval")}
    bodies = {e.number: _body(e.body) for e in (*of["run"], *of["report"])}
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


def _body(text: str) -> dict:
    """Parse the body of an entry. Return {} if it cannot be read; an audit reports such an entry."""
    try:
        body = json.loads(text)
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
    wanted = query.on(select(*columns)).order_by(RunRow.number.desc()).limit(most).offset(skipped)
    # Plain tuples: pandas would check every Row object for field names.
    return pd.DataFrame(list(map(tuple, _asked(engine, wanted))), columns=[column.name for column in columns])


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
