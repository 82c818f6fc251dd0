"""A worker process and its queue: runs outlive a page, can be watched and cancelled.

The queue is a table of the record, so that any page, and the worker, see the same state. Pixels and results travel as
files in a folder a job. One worker serves a home folder; it holds the models and ends when its app has gone.
"""

import json
import os
import shutil
import subprocess
import sys
import time
import traceback
import uuid
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from sqlalchemy import Boolean, Engine, Float, String, Text, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from crystalseg.calibration import Calibration
from crystalseg.fusion import Prediction, ScalePrediction
from crystalseg.ledger import Base, entries
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.distribution import summarise
from crystalseg.micrograph import Micrograph
from crystalseg.runs import Run, describe, open_database, record, reopen
from crystalseg.segmentation import Cancelled, Progress, Segmentation
from crystalseg.settings import Settings
from crystalseg.store import home, now

KEPT_RESULTS = 30
SAMPLE = "sample-"  # jobs of the micrographs that come with the program; their results are kept
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


@dataclass(frozen=True)
class Job:
    """status: queued, running, done, failed or cancelled. stage, share: how far, in words and 0..1. error: one
    sentence, if failed."""

    id: str
    name: str
    status: str
    stage: str
    share: float
    error: str

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


class Queue:
    """The page's side of the queue. Threads may share it."""

    def __init__(self, folder: Path | None = None):
        self.folder = (folder or home()) / "jobs"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.engine = open_database(f"sqlite:///{folder / 'record.sqlite'}" if folder else None)
        self._worker: subprocess.Popen | None = None

    def submit(self, micrograph: Micrograph, settings: Settings, job: str = "") -> str:
        """Queue a run and see that a worker is there; returns the job's id, a new one unless `job` names it."""
        job = job or uuid.uuid4().hex[:12]
        place = self.folder / job
        place.mkdir(exist_ok=True)
        save_micrograph(place / "micrograph.npz", micrograph)
        (place / "settings.json").write_text(settings.to_json())
        with Session(self.engine) as session, session.begin():
            session.merge(
                JobRow(
                    id=job, created=now(), name=micrograph.name, order=time.time(), status="queued",
                    stage="waiting", share=0.0, error="", cancel=False,
                )
            )  # fmt: skip
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
                    cwd=Path(__file__).parents[1],
                )

    def close(self) -> None:
        """Stop this queue's worker at once; what runs is reported as interrupted when a worker starts again."""
        if self._worker is not None:
            self._worker.kill()
            self._worker.wait(10)

    def look(self, job: str) -> Job | None:
        """The job's state; None if there is no such job. A job whose worker died is reported as failed."""
        with Session(self.engine) as session:
            row = session.get(JobRow, job)
            found = Job(row.id, row.name, row.status, row.stage, row.share, row.error) if row else None
        if found and found.active and self._worker is not None and self._worker.poll() is not None:
            self.start_worker()  # on starting it fails what was running and goes on with what waits
        return found

    def active(self) -> list[Job]:
        """Jobs waiting or running, oldest first."""
        with Session(self.engine) as session:
            rows = session.scalars(select(JobRow).where(JobRow.status.in_(ACTIVE)).order_by(JobRow.order)).all()
            return [Job(r.id, r.name, r.status, r.stage, r.share, r.error) for r in rows]

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
        found = self.look(job)
        if not (found and (found.active or (found.status == "done" and self.has_result(job)))):
            self.submit(micrograph, settings, job)

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
            if place.name not in busy and not place.name.startswith(SAMPLE):
                shutil.rmtree(place, ignore_errors=True)


def work(folder: Path | None = None, idle_seconds: float = 900.0) -> None:
    """The worker's life: take the oldest waiting job, run it, repeat; end when idle and the app has gone."""
    from crystalseg.pipeline import load_models  # torch, which the pages' side of the queue does without

    queue = Queue(folder)
    try:
        lock = FileLock(queue.folder / "worker.lock").acquire(timeout=0)
    except Timeout:
        return
    with lock:
        _settle_interrupted(queue)
        parent = os.getppid()
        models = None
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < idle_seconds:
            waiting = [job for job in queue.active() if job.status == "queued"]
            if not waiting:
                if os.getppid() != parent:
                    return
                time.sleep(0.2)
                continue
            try:
                models = models or load_models()
                _run(queue, waiting[0].id, models)
            except Exception as error:  # the worker must survive any job, and say why it failed
                traceback.print_exc()
                sentence = str(error) if isinstance(error, ValueError) else f"The run failed: {error!r}."
                if isinstance(error, MemoryError):
                    sentence = "There is not enough memory for this image; crop it or use smaller resize factors."
                _set(queue.engine, waiting[0].id, status="failed", error=sentence)
            quiet_since = time.monotonic()


def _settle_interrupted(queue: Queue) -> None:
    """What ran when the last worker stopped has failed, unless its result was on record already."""
    sentence = "The run was interrupted because its process stopped; start it again."
    for job in queue.active():
        if job.status == "running":
            if queue.has_result(job.id) and entries(queue.engine, "run", job.id):
                _set(queue.engine, job.id, status="done", stage="done", share=1.0)
            else:
                _set(queue.engine, job.id, status="failed", error=sentence)


def _set(engine: Engine, job: str, **values) -> None:
    with Session(engine) as session, session.begin():
        session.execute(update(JobRow).where(JobRow.id == job).values(**values))


def _run(queue: Queue, job: str, models) -> None:
    from crystalseg.baselines import segment

    place = queue.folder / job
    _set(queue.engine, job, status="running", stage="starting")
    micrograph = load_micrograph(place / "micrograph.npz")
    settings = Settings.from_json((place / "settings.json").read_text())
    last = 0.0

    def progress(p: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < 0.2:
            return
        last = time.monotonic()
        with Session(queue.engine) as session, session.begin():
            row = session.get(JobRow, job)
            if row.cancel:
                raise Cancelled
            row.stage = f"{p.stage}, tile {p.done} of {p.total}" if p.stage.startswith("scale") else p.stage
            row.share = p.share

    try:
        found = segment(micrograph, settings, models, progress)
    except Cancelled:
        _set(queue.engine, job, status="cancelled")
        return
    save_segmentation(place / "segmentation.npz", found)
    crystals = measure_crystals(found.labels, micrograph.um_per_px, found.confidence)
    summary = summarise(crystals, micrograph.shape, settings.measuring.border_rule)
    # The run has the job's id: after a crash between the record and the end of the job it is not recorded twice.
    made = describe(micrograph, found, summary, id=job, job=job)
    kept = Run.from_dict(record(queue.engine, made).body)
    if kept.hashes != found.hashes:
        sentence = "Other networks are installed than those of this run, whose labels stay on record; run it anew."
        _set(queue.engine, job, status="failed", error=sentence)
        return
    if kept.files["labels"] != made.files["labels"]:
        then = reopen(kept, with_image=False)
        if not np.array_equal(then.labels, found.labels):
            # brought back where numbers are rounded otherwise: what is on record counts
            found = replace(found, labels=then.labels, confidence=then.confidence, origin=None, features=None)
            save_segmentation(place / "segmentation.npz", found)
    _set(queue.engine, job, status="done", stage="done", share=1.0)


# --- arrays on disk -------------------------------------------------------------------------------------------------


def _save(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    """Write arrays and JSON-ready facts to one .npz, atomically."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, _facts=np.array(json.dumps(facts)), **arrays)
    os.replace(part, path)


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays.pop("_facts")))


def save_micrograph(path: Path, m: Micrograph) -> None:
    facts = {
        "name": m.name,
        "sha256": m.sha256,
        "calibration": asdict(m.calibration) if m.calibration else None,
        "notes": m.notes,
        "region": m.region,
    }
    _save(path, {"pixels": m.pixels}, facts)


def load_micrograph(path: Path) -> Micrograph:
    arrays, facts = _load(path)
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    region = tuple(facts["region"]) if facts["region"] else None
    return Micrograph(arrays["pixels"], facts["name"], facts["sha256"], calibration, tuple(facts["notes"]), region)


_OPTIONAL = ("attention", "origin", "features")


def save_segmentation(path: Path, s: Segmentation) -> None:
    """All maps; those of single scales, which are only looked at, at half precision."""
    arrays = {"labels": s.labels, "confidence": s.confidence, "flow": s.fused.flow, "foreground": s.fused.foreground}
    arrays |= {name: getattr(s, name) for name in _OPTIONAL if getattr(s, name) is not None}
    for i, scale in enumerate(s.scales):
        arrays[f"flow_{i}"] = scale.flow.astype(np.float16)
        arrays[f"foreground_{i}"] = scale.foreground.astype(np.float16)
        arrays[f"covered_{i}"] = scale.covered
    facts = {
        "factors": [scale.factor for scale in s.scales],
        "settings": s.settings.to_json(),
        "timings": s.timings,
        "hashes": s.hashes,
        "versions": s.versions,
    }
    _save(path, arrays, facts)


def load_segmentation(path: Path) -> Segmentation:
    arrays, facts = _load(path)
    scales = tuple(
        ScalePrediction(
            factor,
            arrays[f"flow_{i}"].astype(np.float32),
            arrays[f"foreground_{i}"].astype(np.float32),
            arrays[f"covered_{i}"],
        )
        for i, factor in enumerate(facts["factors"])
    )
    return Segmentation(
        arrays["labels"],
        arrays["confidence"],
        Prediction(arrays["flow"], arrays["foreground"]),
        scales,
        settings=Settings.from_json(facts["settings"]),
        timings=facts["timings"],
        hashes=facts["hashes"],
        versions=facts["versions"],
        **{name: arrays.get(name) for name in _OPTIONAL},
    )
