"""The record: one database row a finished run and one a job in the queue (SQLAlchemy; SQLite unless a URL is given)."""

import datetime
import json
import os
import platform
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import JSON, Engine, Float, String, create_engine, event, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from crystalseg import __version__


def home() -> Path:
    """Where the record and results live: $CRYSTALSEG_HOME, else ~/.crystalseg; made if missing."""
    path = Path(os.environ.get("CRYSTALSEG_HOME") or Path.home() / ".crystalseg")
    path.mkdir(parents=True, exist_ok=True)
    return path


def now() -> str:
    """The current time, UTC, ISO 8601 to the microsecond: runs that end together keep their order."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")


def software() -> dict[str, str]:
    """Versions that a figure depends on."""
    packages = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "segmentation-models-pytorch")
    return {"crystalseg": __version__, "Python": platform.python_version(), **{p: version(p) for p in packages}}


class Base(DeclarativeBase):
    pass


class RunRow(Base):
    """A finished run. Rows are only ever added."""

    __tablename__ = "runs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(32), index=True)
    image_name: Mapped[str] = mapped_column(String(255))
    image_sha256: Mapped[str] = mapped_column(String(64), index=True)
    region: Mapped[list | None] = mapped_column(JSON)
    um_per_px: Mapped[float | None] = mapped_column(Float)
    calibration: Mapped[str | None] = mapped_column(String(255))
    settings: Mapped[dict] = mapped_column(JSON)
    hashes: Mapped[dict] = mapped_column(JSON)
    versions: Mapped[dict] = mapped_column(JSON)
    software: Mapped[dict] = mapped_column(JSON)
    timings: Mapped[dict] = mapped_column(JSON)
    figures: Mapped[dict | None] = mapped_column(JSON)
    corrections: Mapped[list] = mapped_column(JSON, server_default="[]")


class CorrectionRow(Base):
    """A correction by hand, an undo or a redo, in the order they were made. Rows are only ever added."""

    __tablename__ = "corrections"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job: Mapped[str] = mapped_column(String(32), index=True)
    choice: Mapped[str] = mapped_column(String(64))
    who: Mapped[str] = mapped_column(String(255))
    when: Mapped[str] = mapped_column(String(32))
    entry: Mapped[dict] = mapped_column(JSON)


@dataclass(frozen=True)
class Run:
    """What is known of a finished run beside its maps; all JSON-ready. figures: the Summary as a dict, or None if no
    crystal counted; corrections: those in force, as dicts. See `RunRow` for the rest."""

    image_name: str
    image_sha256: str
    region: tuple[int, int, int, int] | None
    um_per_px: float | None
    calibration: str | None
    settings: dict
    hashes: dict
    versions: dict
    timings: dict
    figures: dict | None
    corrections: list[dict] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    created: str = field(default_factory=now)
    software: dict = field(default_factory=software)

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def describe(micrograph, segmentation, summary, corrections: Sequence[dict] = ()) -> Run:
    """The `Run` of a Micrograph, its Segmentation, its Summary (or None) and the corrections made by hand."""
    calibration = micrograph.calibration
    return Run(
        image_name=micrograph.name,
        image_sha256=micrograph.sha256,
        region=micrograph.region,
        um_per_px=micrograph.um_per_px,
        calibration=calibration.source if calibration else None,
        settings=json.loads(segmentation.settings.to_json()),
        hashes=segmentation.hashes,
        versions=segmentation.versions,
        timings={stage: round(seconds, 3) for stage, seconds in segmentation.timings.items()},
        figures=asdict(summary) if summary else None,
        corrections=list(corrections),
    )


def open_database(url: str | None = None) -> Engine:
    """The record's engine, at the present schema: `url`, else $CRYSTALSEG_DATABASE_URL, else SQLite under `home`."""
    url = url or os.environ.get("CRYSTALSEG_DATABASE_URL") or f"sqlite:///{home() / 'record.sqlite'}"
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection, _record) -> None:
            # A page reads while the worker writes.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA busy_timeout=10000")

    _migrate(engine)
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the record to the present schema; an empty one gets its tables. App and worker may start together."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with FileLock(home() / "record.lock"), engine.begin() as connection:
        config.attributes["connection"] = connection
        tables = inspect(connection).get_table_names()
        if "runs" in tables and "alembic_version" not in tables:
            command.stamp(config, "0001")  # made by the first release, which wrote no version
        command.upgrade(config, "head")


def record(engine: Engine, run: Run) -> None:
    """Add a run to the record."""
    with Session(engine) as session, session.begin():
        session.add(RunRow(**asdict(run)))


def log_correction(engine: Engine, job: str, choice: str, entry: dict, who: str) -> None:
    """Add a correction (or undo, redo), made to the result of `job` with the thresholds named `choice`, to its log."""
    with Session(engine) as session, session.begin():
        session.add(CorrectionRow(job=job, choice=choice, entry=entry, who=who, when=now()))


def correction_log(engine: Engine, job: str, choice: str | None = None) -> list[CorrectionRow]:
    """The log of a job, oldest first; of all its thresholds unless a `choice` is named."""
    wanted = select(CorrectionRow).where(CorrectionRow.job == job).order_by(CorrectionRow.number)
    if choice is not None:
        wanted = wanted.where(CorrectionRow.choice == choice)
    with Session(engine, expire_on_commit=False) as session:
        return list(session.scalars(wanted).all())


def recorded(engine: Engine, limit: int = 100) -> list[Run]:
    """The latest runs, newest first."""
    with Session(engine) as session:
        rows = session.scalars(select(RunRow).order_by(RunRow.created.desc(), RunRow.id).limit(limit)).all()
        return [Run(**{c.name: getattr(row, c.name) for c in RunRow.__table__.columns}) for row in rows]
