"""A worker process and its queue: runs outlive a page, can be watched and cancelled.

The queue is a table of the record, so that any page, and the worker, see the same state. Pixels and results travel as
files in a folder a job. One worker serves a home folder; it holds the models and ends when its app has gone.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Boolean, Float, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from crystalseg import ROOT
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


@dataclass(frozen=True)
class Job:
    """status: queued, running, done, failed or cancelled. stage, share: how far, in words and 0..1. error: one
    sentence, if failed; who: asked for it, or ""."""

    id: str
    name: str
    status: str
    stage: str
    share: float
    error: str
    who: str

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


def _job(row: JobRow) -> Job:
    return Job(row.id, row.name, row.status, row.stage, row.share, row.error, row.who)


class Queue:
    """The page's side of the queue. Threads may share it."""

    def __init__(self, folder: Path | None = None):
        self.folder = (folder or home()) / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = open_database(f"sqlite:///{folder / 'record.sqlite'}" if folder else None)
        self._worker: subprocess.Popen | None = None

    def submit(self, micrograph: Micrograph, settings: Settings, job: str = "", who: str = "") -> str:
        """Queue a run, for the record by `who`, and see that a worker is there; returns the job's id, a new one unless
        `job` names it."""
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
                )
            )
        self.start_worker()
        self._forget_old()
        return job

    def start_worker(self) -> None:
        """Start the worker unless one runs; a second one would find the lock taken and end."""
        if self._worker is None or self._worker.poll() is not None:
            environment = os.environ | {"CRYSTALSEG_HOME": str(self.folder.parent)}
            with (self.folder / "worker.log").open("ab") as log:
                self._worker = subprocess.Popen(
                    [sys.executable, "-m", "crystalseg", "worker"],
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=ROOT,
                )

    def close(self) -> None:
        """Stop this queue's worker at once; what runs is reported as interrupted when a worker starts again."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait(10)

    def job(self, name: str) -> Job | None:
        """The job of that id; None if there is none. A job whose worker died, whoever started it, is reported as
        failed, and a worker is started for those that wait."""
        job = self._read(name)
        if job and job.active and self._is_orphaned():
            self.settle_interrupted()
            self.start_worker()
            job = self._read(name)
        return job

    def _read(self, name: str) -> Job | None:
        with Session(self.engine) as session:
            row = session.get(JobRow, name)
            return _job(row) if row else None

    def worker_lock(self, timeout: float = 0.0) -> FileLock:
        """Held by the worker of this home for as long as it lives: the system takes it from a dead one. filelock's
        Timeout while another has it."""
        lock = FileLock(self.folder / "worker.lock")
        lock.acquire(timeout=timeout)
        return lock

    def _is_orphaned(self) -> bool:
        """Whether no worker lives, nor one is just starting that this queue knows of."""
        if self._worker is not None and self._worker.poll() is None:
            return False
        try:
            self.worker_lock().release()
        except Timeout:
            return False
        return True

    def settle_interrupted(self) -> None:
        """What ran when the last worker stopped has failed, unless its result was on record already."""
        sentence = "The run was interrupted because its process stopped; start it again."
        for job in self.active():
            if job.status == "running" and (self.folder / job.id).is_dir():  # else it is another home's
                if self.has_result(job.id) and entries(self.engine, "run", job.id):
                    self.set(job.id, status="done", stage="done", share=1.0)
                else:
                    self.set(job.id, status="failed", error=sentence)

    def set(self, job: str, **values: str | float) -> None:
        """Change a job's row."""
        with Session(self.engine) as session, session.begin():
            session.execute(update(JobRow).where(JobRow.id == job).values(**values))

    def active(self) -> list[Job]:
        """Jobs waiting or running, oldest first."""
        with Session(self.engine) as session:
            rows = session.scalars(select(JobRow).where(JobRow.status.in_(ACTIVE)).order_by(JobRow.order)).all()
            return [_job(row) for row in rows]

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

    def is_active(self, job: str) -> bool:
        """Whether a job waits or runs."""
        state = self.job(job)
        return state is not None and state.active

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
