"""The queue of runs. Runs outlive a page, and can be watched and cancelled.

The queue is a table in the record's database, so that all pages and workers see the same state. Pixels and results are
files in a folder per job. Workers hold the models, and end when their app is gone. People take turns: the next job is
from whoever has the fewest runs under way.
"""

import shutil
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Boolean, Engine, Float, Integer, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from crystalseg.execution.workers import Workers, chosen
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import visible
from crystalseg.record.database import open_database
from crystalseg.record.ledger import LONGEST_NAME, Base, entries
from crystalseg.record.results import load_micrograph, load_segmentation, save_micrograph
from crystalseg.record.store import home, now
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings

KEPT_RESULTS = 30
EXAMPLE = "sample-"  # prefix of jobs on shipped micrographs, whose results are kept
ACTIVE = ("queued", "running")


class JobRow(Base):
    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(255))
    order: Mapped[float] = mapped_column(Float, index=True)
    status: Mapped[str] = mapped_column(String(16), index=True)
    stage: Mapped[str] = mapped_column(String(64))
    share: Mapped[float] = mapped_column(Float)
    error: Mapped[str] = mapped_column(Text)
    cancel: Mapped[bool] = mapped_column(Boolean)
    who: Mapped[str] = mapped_column(String(LONGEST_NAME))
    asker: Mapped[str] = mapped_column(String(LONGEST_NAME))
    worker: Mapped[int] = mapped_column(Integer)


@dataclass(frozen=True)
class Job:
    """A job in the queue.

    status: queued, running, done, failed or cancelled.
    stage, share: The progress, in words and as 0..1.
    error: One sentence if it failed.
    who: The person who requested it, or "".
    asker: The name or browser session that takes turns with others.
    worker: The place of the worker that runs it.
    """

    id: str
    name: str
    status: str
    stage: str
    share: float
    error: str
    who: str
    asker: str
    worker: int

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def is_example(self) -> bool:
        """Whether it measures a micrograph shipped with the program."""
        return self.id.startswith(EXAMPLE)


def _job(row: JobRow) -> Job:
    return Job(row.id, row.name, row.status, row.stage, row.share, row.error, row.who, row.asker, row.worker)


def under_way(engine: Engine) -> set[str]:
    """Return the ids of the jobs that are queued or running."""
    with Session(engine) as session:
        return set(session.scalars(select(JobRow.id).where(JobRow.status.in_(ACTIVE))))


class Queue:
    """The page's side of the queue. Threads may share it."""

    def __init__(self, folder: Path | None = None):
        self.folder = (folder or home()) / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = open_database(f"sqlite:///{folder / 'record.sqlite'}" if folder else None)
        self.workers = Workers(self.folder, chosen())

    def submit(self, micrograph: Micrograph, settings: Settings, job: str = "", who: str = "", asker: str = "") -> str:
        """Queue a run and make sure that workers are running. Return the id of the job: `job` if given, else a new one.

        `who` is the name for the record. `asker` is the name or browser session that takes turns; it defaults to `who`.
        """
        job = job or uuid.uuid4().hex[:12]
        place = self.folder / job
        place.mkdir(exist_ok=True)
        save_micrograph(place / "micrograph.npz", micrograph)
        (place / "settings.json").write_text(settings.to_json())
        with Session(self.engine) as session, session.begin():
            session.merge(
                JobRow(
                    id=job,
                    created=now(),
                    name=micrograph.name,
                    order=time.time(),
                    status="queued",
                    stage="waiting",
                    share=0.0,
                    error="",
                    cancel=False,
                    who=visible(who)[:LONGEST_NAME],
                    asker=(asker or who)[:LONGEST_NAME],
                    worker=0,
                )
            )
        self.start_workers()
        self._forget_old()
        return job

    def start_workers(self) -> None:
        """Make sure that there are workers for the active jobs."""
        self.workers.start(len(self.active()))

    def close(self) -> None:
        """Stop this queue's workers at once. A job that was running is reported as interrupted when it is next read."""
        self.workers.close()

    def job(self, name: str) -> Job | None:
        """Return the job with that id, or None. If its worker died, whoever started it, the job is reported as failed,
        and a worker is started for the waiting jobs."""
        job = self._read(name)
        if job and job.active and not self.workers.lives(job.worker):
            self.settle_interrupted(job.worker)
            self.start_workers()
            job = self._read(name)
        return job

    def _read(self, name: str) -> Job | None:
        with Session(self.engine) as session:
            row = session.get(JobRow, name)
            return _job(row) if row else None

    def settle_interrupted(self, worker: int) -> None:
        """Mark the jobs that a worker ran when it stopped as failed, or as done if their results are already on
        record."""
        sentence = "The run was interrupted because its process stopped. Start it again."
        for job in self.active():
            if job.status == "running" and job.worker == worker:
                if self.has_result(job.id) and entries(self.engine, "run", job.id):
                    self.set(job.id, status="done", stage="done", share=1.0)
                else:
                    self.set(job.id, status="failed", error=sentence)

    def set(self, job: str, **values: str | float) -> None:
        """Change fields of a job's row."""
        with Session(self.engine) as session, session.begin():
            session.execute(update(JobRow).where(JobRow.id == job).values(**values))

    def active(self) -> list[Job]:
        """Return the queued and running jobs of this home folder, oldest first."""
        with Session(self.engine) as session:
            rows = session.scalars(select(JobRow).where(JobRow.status.in_(ACTIVE)).order_by(JobRow.order)).all()
            return [_job(row) for row in rows if (self.folder / row.id).is_dir()]

    def waiting(self) -> list[Job]:
        """Return the queued jobs in the order in which they will be taken: first those of whoever has the fewest jobs
        under way, and last the examples, which nobody requested."""
        active = self.active()
        under_way = Counter(job.asker for job in active if job.status == "running")
        turns: list[tuple[bool, int, int, Job]] = []
        for job in (job for job in active if job.status == "queued"):
            turns.append((job.is_example, under_way[job.asker], len(turns), job))
            under_way[job.asker] += 1
        return [job for *_, job in sorted(turns, key=lambda turn: turn[:3])]

    def give_back(self, job: str) -> None:
        """Put a job that was taken back into the queue."""
        self.set(job, status="queued", stage="waiting", share=0.0)

    def take(self, worker: int) -> str | None:
        """Return the next job for a worker and mark it as running, or return None if none is queued."""
        for job in self.waiting():
            with Session(self.engine) as session, session.begin():
                # only one of several workers gets it
                mine = update(JobRow).where(JobRow.id == job.id, JobRow.status == "queued").returning(JobRow.id)
                if session.scalar(mine.values(status="running", stage="starting", worker=worker)):
                    return job.id
        return None

    def cancel(self, job: str) -> None:
        """Request a stop. A queued job never starts; a running one stops after its current batch of tiles."""
        with Session(self.engine) as session, session.begin():
            session.execute(update(JobRow).where(JobRow.id == job).values(cancel=True))
            session.execute(
                update(JobRow).where(JobRow.id == job, JobRow.status == "queued").values(status="cancelled")
            )

    def bring_back(self, job: str, micrograph: Micrograph, settings: Settings) -> None:
        """Make sure that the maps of a run on record exist: if they were cleared, compute the run again under its id.
        The job keeps the labels on record, and fails if different networks are installed."""
        if not self.is_under_way(job):
            self.submit(micrograph, settings, job)

    def is_under_way(self, job: str) -> bool:
        """Return whether a job is queued, running, or done with its files still there."""
        state = self.job(job)
        return state is not None and (state.active or (state.status == "done" and self.has_result(job)))

    def has_result(self, job: str) -> bool:
        """Return whether the result files of a job exist."""
        return (self.folder / job / "segmentation.npz").exists()

    def result(self, job: str) -> tuple[Micrograph, Segmentation] | None:
        """Return what a finished job found, or None if its files were cleared."""
        place = self.folder / job
        if not self.has_result(job):
            return None
        return load_micrograph(place / "micrograph.npz"), load_segmentation(place / "segmentation.npz")

    def _forget_old(self) -> None:
        busy = {job.id for job in self.active()}
        places = sorted((p for p in self.folder.iterdir() if p.is_dir()), key=lambda p: p.stat().st_mtime)
        for place in places[:-KEPT_RESULTS]:
            if place.name not in busy and not place.name.startswith(EXAMPLE):
                shutil.rmtree(place, ignore_errors=True)
