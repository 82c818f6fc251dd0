"""Runs as rows with their figures, and reports by run and by file: derived from the record's entries, for lists, search
and charts that stay quick however many there are. Each question catches up with the record first; an index of another
record is made anew, so that what it says is never older than the record."""

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

# The figures of a run that are columns.
FIGURES: dict[str, Callable[[Summary], float]] = {
    "average": lambda s: s.average.value,
    "number_d50": lambda s: s.number[1],
    "number_d90": lambda s: s.number[2],
    "area_d50": lambda s: s.area[1],
    "area_d90": lambda s: s.area[2],
    "largest": lambda s: s.largest,
}
_AT_ONCE = 2000  # entries in one transaction, so that nobody who writes waits for long


class RunRow(Base):
    """A run. measurement: its job, which the states of one measurement have in common (as found, with corrections, with
    other thresholds); stands: whether it is the one of them that counts, the last approved or else the last; words:
    what it is searched by, in small letters; crystals: the hash of their file, or ""; method: `Settings.short_method`;
    weights: the names of those it used and by what they are told from others."""

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
    """A report, by entry, of a run it is about, and the hash of its file."""

    __tablename__ = "report_index"
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    run: Mapped[str] = mapped_column(String(64), primary_key=True, index=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)


class StateRow(Base):
    """The one row that says up to which entry the index goes."""

    __tablename__ = "index_state"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer)
    hash: Mapped[str] = mapped_column(String(64))


@dataclass(frozen=True)
class Query:
    """words: each is in what a run is searched by; profiles, verdicts: one of these, or any; every: also the states of
    a measurement that do not stand for it."""

    words: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    every: bool = False

    def on(self, wanted: Select[Any]) -> Select[Any]:
        """A question about runs, asked of these only."""
        for word in self.words:
            wanted = wanted.where(RunRow.words.contains(word.lower(), autoescape=True))
        if self.profiles:
            wanted = wanted.where(RunRow.profile.in_(self.profiles))
        if self.verdicts:
            wanted = wanted.where(RunRow.verdict.in_(self.verdicts))
        return wanted if self.every else wanted.where(RunRow.stands)


def catch_up(engine: Engine) -> None:
    """Bring the index to the record's end. RecordError if the database refuses."""
    try:
        while not _caught_up(engine):
            pass
    except DBAPIError as error:
        raise RecordError(explained(error)) from error


def _caught_up(engine: Engine) -> bool:
    """Index some more entries; whether all are."""
    end = ledger.end(engine)
    with Session(engine) as session:
        state = session.get(StateRow, 1)
        if state is not None and (state.number, state.hash) == end:
            return True
    with FileLock(store.home() / "index.lock"), Session(engine) as session, session.begin():
        state = session.get(StateRow, 1, with_for_update=True)  # others may write from other machines
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
    """Put entries into the index, in the order they were written."""
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
    """Of each measurement's states one stands for it."""
    other = aliased(RunRow)
    order = ((other.approved != "").desc(), other.number.desc())
    first = select(other.number).where(other.measurement == RunRow.measurement).order_by(*order).limit(1)
    settled = update(RunRow).values(stands=RunRow.number == first.scalar_subquery())
    # one value a statement: databases limit how many a statement may have
    settled = settled.where(RunRow.measurement == bindparam("about"))
    if abouts := [{"about": measurement} for measurement in measurements]:
        session.connection().execute(settled, abouts)


def _body(text: str) -> dict:
    """What an entry says; nothing if it was changed beyond reading, which an audit reports."""
    try:
        body = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _row(entry: Any, body: dict) -> dict[str, Any]:
    """A run's row."""
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
    """One of the objects in what is on record of a run; nothing if it has none."""
    part = body.get(name)
    return part if isinstance(part, dict) else {}


def _method(settings: dict) -> str:
    """The method's name with flow network, model and effort; as it was written if it cannot be read."""
    try:
        return Settings.on_record(settings).short_method
    except SettingsError:
        return str(settings.get("method", ""))


def _weights(body: dict) -> str:
    """By what the weights of a run are told from others: the hashes, or of somebody's own model what it says of it."""
    hashes = {name: str(sha256)[:8] for name, sha256 in _part(body, "hashes").items()}
    return ", ".join(f"{name} {said}" for name, said in (hashes or _part(body, "versions")).items())


def _summary(figures: dict) -> Summary | None:
    """The figures, None if there are none, or none that this version can read."""
    try:
        return Summary.from_dict(figures) if figures else None
    except UserError:
        return None


def _figure(summary: Summary | None, of: Callable[[Summary], float]) -> float | None:
    """A figure, or None if the run has none."""
    try:
        value = float(of(summary)) if summary else math.nan
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _verdict(body: dict) -> str:
    """Of a run's limits together."""
    try:
        return overall([Verdict.from_dict(verdict) for verdict in body.get("verdicts", ())]) or ""
    except (KeyError, TypeError, ValueError, UserError):
        return ""


def _reports(number: int, body: dict) -> list[dict[str, Any]]:
    """A report's rows, one for each run it is about."""
    (sha256,) = list(ledger.files_in(body).values())[:1] or [""]
    return [{"number": number, "run": run, "sha256": sha256} for run in dict.fromkeys(map(str, body.get("runs", ())))]


def count(engine: Engine, query: Query = Query()) -> int:
    """How many runs there are of these."""
    return _asked(engine, query.on(select(func.count()).select_from(RunRow)))[0][0]


def runs(
    engine: Engine,
    query: Query = Query(),
    most: int | None = None,
    skipped: int = 0,
    only: Sequence[str] = (),
) -> pd.DataFrame:
    """Rows of runs, the latest first, after those `skipped`: columns as in `RunRow`, all or `only` these."""
    shown = [column for column in RunRow.__table__.columns if column.name not in ("number", "words", "stands")]
    columns = [column for column in shown if not only or column.name in only]
    wanted = query.on(select(*columns)).order_by(RunRow.number.desc()).limit(most).offset(skipped)
    # plain tuples: of rows pandas asks in vain, one by one, whether they have names
    return pd.DataFrame(list(map(tuple, _asked(engine, wanted))), columns=[column.name for column in columns])


def states(engine: Engine, run: str) -> list[str]:
    """Ids of all runs of the measurement that one is of, the latest first."""
    measurement = select(RunRow.measurement).where(RunRow.run == run).scalar_subquery()
    wanted = select(RunRow.run).where(RunRow.measurement == measurement).order_by(RunRow.number.desc())
    return [row.run for row in _asked(engine, wanted)]


def profiles_used(engine: Engine) -> list[str]:
    """Names of the profiles that runs on record have."""
    wanted = select(RunRow.profile).distinct().where(RunRow.profile != "").order_by(RunRow.profile)
    return [row.profile for row in _asked(engine, wanted)]


def reports(engine: Engine, run: str) -> list[int]:
    """Numbers of the entries of a run's reports, oldest first."""
    return _numbers(engine, ReportRow.run == run)


def reports_with(engine: Engine, sha256: str) -> list[int]:
    """Numbers of the entries of reports with this file, oldest first."""
    return _numbers(engine, ReportRow.sha256 == sha256)


def _numbers(engine: Engine, about: ColumnElement[bool]) -> list[int]:
    wanted = select(ReportRow.number).distinct().where(about).order_by(ReportRow.number)
    return [row.number for row in _asked(engine, wanted)]


def _asked(engine: Engine, wanted: Select[Any]) -> Sequence[Any]:
    """What the index answers, caught up."""
    catch_up(engine)
    with engine.connect() as connection:
        return connection.execute(wanted).all()
