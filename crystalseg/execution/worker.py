"""A worker process: it takes one job after another from the queue."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import Timeout
from sqlalchemy.orm import Session

from crystalseg.execution.cluster import connected, equip, measured_elsewhere
from crystalseg.execution.failure import failure
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.queue import EXAMPLE, JobRow, Queue
from crystalseg.execution.result import Result, described, settle
from crystalseg.execution.workers import scheduler
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.ledger import entries
from crystalseg.record.models import taught
from crystalseg.record.reopening import reopen
from crystalseg.record.results import load_micrograph, save_segmentation
from crystalseg.record.runs import Run, same_networks
from crystalseg.report.report import Details
from crystalseg.segmentation.models import Models, Taught, load_models, with_taught
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.settings import Settings, read_json


def work(place: int = 0, folder: Path | None = None, idle_seconds: float = 900.0) -> None:
    """Run a worker: take the next job, run it, and repeat. End after `idle_seconds` without a job, or when idle and the
    app is gone."""
    queue = Queue(folder)
    try:
        # A page that checks whether a worker lives holds its place for a moment.
        lock = queue.workers.hold(place, timeout=2.0)
    except Timeout:
        return
    with lock:
        queue.settle_interrupted(place)
        parent = os.getppid()
        models = None
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < idle_seconds:
            job = queue.take(place)
            if job is None:
                if os.getppid() != parent:
                    return
                time.sleep(0.2)
                continue
            try:
                models = models or load_models()
                run_job(queue, job, models, measured_by(models))
            except Exception as error:  # the worker must survive any job and report why it failed
                queue.set(job, status="failed", error=failure(error))
            quiet_since = time.monotonic()


Measure = Callable[[Micrograph, Settings, Taught | None, Callable[[Progress], None]], Result]


def measured_by(models: Models) -> Measure:
    """Return the function that measures an image: in this process, or on the cluster that $CRYSTALSEG_SCHEDULER names.
    The function raises ClusterError if the cluster does not answer."""
    address = scheduler()

    def elsewhere(
        micrograph: Micrograph, settings: Settings, model: Taught | None, progress: Callable[[Progress], None]
    ) -> Result:
        with connected(0, address) as client:
            return measured_elsewhere(client, micrograph, settings, progress, equip(client, model))

    if address:
        return elsewhere
    return lambda micrograph, settings, model, progress: measure_micrograph(
        micrograph, settings, with_taught(models, model), progress
    )


def run_job(queue: Queue, job: str, models: Models, measure: Measure) -> None:
    """Run a job that was taken, and write its result to its folder and to the record."""
    place = queue.folder / job
    micrograph = load_micrograph(place / "micrograph.npz")
    settings = Settings.on_record(read_json((place / "settings.json").read_text(), "The settings are"))
    earlier = entries(queue.engine, "run", job)
    model = taught(queue.engine, settings)
    if earlier and not same_networks(Run.from_dict(earlier[0].body), with_taught(models, model).hashes):
        sentence = "This run used other weights than those installed. Its labels stay on record. Run the image again."
        queue.set(job, status="failed", error=sentence)
        return
    try:
        result = measure(micrograph, settings, model, _Watched(queue, job))
    except _GaveWay:
        queue.give_back(job)
        return
    except Cancelled:
        queue.set(job, status="cancelled")
        return
    segmentation = result.segmentation
    save_segmentation(place / "segmentation.npz", segmentation)
    # The run has the id of the job, so that a crash before the end of the job does not record it twice.
    with Session(queue.engine) as session:
        who = session.get_one(JobRow, job).who
    made = described(result, Details(operator=who), id=job, job=job)
    kept = settle(queue.engine, made)
    if kept.files["labels"] != made.run.files["labels"]:
        reopened = reopen(kept, with_image=False)
        if not np.array_equal(reopened.labels, segmentation.labels):
            # The run was computed again with different rounding: keep the labels on record.
            on_record = replace(
                segmentation, labels=reopened.labels, confidence=reopened.confidence, origin=None, features=None
            )
            save_segmentation(place / "segmentation.npz", on_record)
    queue.set(job, status="done", stage="done", share=1.0)


class _GaveWay(Cancelled):
    """An example stops because a requested job is waiting."""


class _Watched:
    """Take the progress of a job. It is written to the job's row at most five times a second. Raises `Cancelled` if the
    row asks for it, and `_GaveWay` if the job is an example and a requested job is waiting."""

    def __init__(self, queue: Queue, job: str):
        self.queue, self.job, self.last = queue, job, 0.0

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self.last < 0.2:
            return
        self.last = time.monotonic()
        stage = progress.stage
        with Session(self.queue.engine) as session, session.begin():
            row = session.get_one(JobRow, self.job)
            if row.cancel:
                raise Cancelled
            tiles = f", tile {progress.done} of {progress.total}" if stage.startswith("scale") else ""
            row.stage, row.share = stage + tiles, progress.share
        if self.job.startswith(EXAMPLE) and any(not job.is_example for job in self.queue.waiting()):
            raise _GaveWay
