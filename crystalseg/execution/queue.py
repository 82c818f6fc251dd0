"""The queue of runs: they outlive a page, can be watched and cancelled.

The queue is a table of the record, so that any page, and the workers, see the same state. Pixels and results travel as
files in a folder a job. Workers hold the models and end when their app has gone. Those who ask take turns: whoever has
fewer runs under way comes first.
"""

import shutil
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Boolean, Float, Integer, String, Text, select, update
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
EXAMPLE = "sample-"  # jobs of the micrographs that come with the program; their results are kept
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
    """status: queued, running, done, failed or cancelled. stage, share: how far, in words and 0..1. error: one
    sentence, if failed; who: asked for it, or ""; asker: with whom turns are taken; worker: place of the one that runs
    it."""

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
        """Whether it is of a micrograph that comes with the program."""
        return self.id.startswith(EXAMPLE)


def _job(row: JobRow) -> Job:
    return Job(row.id, row.name, row.status, row.stage, row.share, row.error, row.who, row.asker, row.worker)


class Queue:
    """The page's side of the queue. Threads may share it."""

    def __init__(self, folder: Path | None = None):
        self.folder = (folder or home()) / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = open_database(f"sqlite:///{folder / 'record.sqlite'}" if folder else None)
        self.workers = Workers(self.folder, chosen())

    def submit(self, micrograph: Micrograph, settings: Settings, job: str = "", who: str = "", asker: str = "") -> str:
        """Queue a run, for the record by `who`, and see that workers are there; returns the job's id, a new one unless
        `job` names it. asker: with whom turns are taken, as a name or a browser session; `who` if it is not given."""
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
        """See that there are workers for the jobs that wait or run."""
        self.workers.start(len(self.active()))

    def close(self) -> None:
        """Stop this queue's workers at once; what runs is reported as interrupted when somebody looks."""
        self.workers.close()

    def job(self, name: str) -> Job | None:
        """The job of that id; None if there is none. A job whose worker died, whoever started it, is reported as
        failed, and a worker is started for those that wait."""
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
        """What a worker ran when it stopped has failed, unless its result was on record already."""
        sentence = "The run was interrupted because its process stopped; start it again."
        for job in self.active():
            if job.status == "running" and job.worker == worker:
                if self.has_result(job.id) and entries(self.engine, "run", job.id):
                    self.set(job.id, status="done", stage="done", share=1.0)
                else:
                    self.set(job.id, status="failed", error=sentence)

    def set(self, job: str, **values: str | float) -> None:
        """Change a job's row."""
        with Session(self.engine) as session, session.begin():
            session.execute(update(JobRow).where(JobRow.id == job).values(**values))

    def active(self) -> list[Job]:
        """Jobs of this home waiting or running, oldest first."""
        with Session(self.engine) as session:
            rows = session.scalars(select(JobRow).where(JobRow.status.in_(ACTIVE)).order_by(JobRow.order)).all()
            return [_job(row) for row in rows if (self.folder / row.id).is_dir()]

    def waiting(self) -> list[Job]:
        """Jobs that wait, in the order in which they will be taken: whoever has fewest under way comes first, and last
        the examples, which nobody asked for."""
        active = self.active()
        under_way = Counter(job.asker for job in active if job.status == "running")
        turns: list[tuple[bool, int, int, Job]] = []
        for job in (job for job in active if job.status == "queued"):
            turns.append((job.is_example, under_way[job.asker], len(turns), job))
            under_way[job.asker] += 1
        return [job for *_, job in sorted(turns, key=lambda turn: turn[:3])]

    def give_back(self, job: str) -> None:
        """A job that was taken waits again."""
        self.set(job, status="queued", stage="waiting", share=0.0)

    def take(self, worker: int) -> str | None:
        """The next job for a worker, which runs from now on; None if none waits."""
        for job in self.waiting():
            with Session(self.engine) as session, session.begin():
                # of several workers one gets it
                mine = update(JobRow).where(JobRow.id == job.id, JobRow.status == "queued").returning(JobRow.id)
                if session.scalar(mine.values(status="running", stage="starting", worker=worker)):
                    return job.id
        return None

    def cancel(self, job: str) -> None:
        """Ask for a stop; a waiting job never starts, a running one stops after the current batch of tiles."""
        with Session(self.engine) as session, session.begin():
            session.execute(update(JobRow).where(JobRow.id == job).values(cancel=True))
            session.execute(
                update(JobRow).where(JobRow.id == job, JobRow.status == "queued").values(status="cancelled")
            )

    def bring_back(self, job: str, micrograph: Micrograph, settings: Settings) -> None:
        """See that the maps of a run on record are there: if they were cleared, it is computed again under its id. It
        keeps the labels on record, and fails if other networks are installed now."""
        if not self.is_under_way(job):
            self.submit(micrograph, settings, job)

    def is_under_way(self, job: str) -> bool:
        """Whether a job waits, runs, or is done and its files are there."""
        state = self.job(job)
        return state is not None and (state.active or (state.status == "done" and self.has_result(job)))

    def has_result(self, job: str) -> bool:
        """Whether a job's files are there."""
        return (self.folder / job / "segmentation.npz").exists()

    def result(self, job: str) -> tuple[Micrograph, Segmentation] | None:
        """What a finished job found; None if its files were cleared since."""
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
