"""The run that is there when the app opens: it comes with the program, and its maps are computed meanwhile."""

import hashlib
import json
from dataclasses import replace

from crystalseg.execution.queue import EXAMPLE, Queue
from crystalseg.micrographs import examples
from crystalseg.networks import DIRECTORY
from crystalseg.record import store
from crystalseg.record.runs import Run, record
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.settings import Settings
from crystalseg.segmentation.version_1 import DEFAULT_SETTINGS

RUN = DIRECTORY / "example.json"
FILES = {"labels": DIRECTORY / "example_labels.npz", "crystals": DIRECTORY / "example_crystals.parquet"}


def job_name() -> str:
    """The job that measures the first example with the default settings and the shipped weights that these need."""
    return _named(canonical([weights(), Settings(), examples.FIRST]))


def earlier_name() -> str:
    """As `job_name`, up to release 0.1: a run that is shipped may still be of this name."""
    return _named(f"({weights()!r}, {DEFAULT_SETTINGS}, {examples.FIRST!r})")


def _named(of: str) -> str:
    return EXAMPLE + hashlib.sha256(of.encode()).hexdigest()[:10]


def weights() -> str:
    """The hash of the shipped weights that the default settings need."""
    files = [DIRECTORY / f"{name}.safetensors" for name in Settings().networks]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


def first_job(queue: Queue) -> str:
    """That job, submitted unless it is there; its run is on record at once where the one that is shipped is of it."""
    run = shipped()
    job = run.id if run and run.id in (job_name(), earlier_name()) else job_name()
    if not queue.is_under_way(job):
        store.put((examples.FOLDER / examples.FIRST).read_bytes())
        if run is not None and run.id == job:
            record(queue.engine, run, {name: file.read_bytes() for name, file in FILES.items()})
        queue.submit(examples.first(), Settings(), job)
    return job


def shipped() -> Run | None:
    """The run that comes with the program, if it does."""
    return Run.from_dict(json.loads(RUN.read_text())) if RUN.exists() else None


def ship() -> Run:
    """Measure the first example now, and write its run and the files kept of it, to be shipped."""
    from crystalseg.execution.one_image import measure_micrograph
    from crystalseg.execution.result import documented
    from crystalseg.report.report import Details
    from crystalseg.segmentation.models import load_models

    job = job_name()
    made = documented(
        measure_micrograph(examples.first(), Settings(), load_models()),
        None,
        Details(operator="shipped with the program"),
        id=job,
        job=job,
    )
    run = replace(made.run, timings={})  # of another machine
    for name, file in FILES.items():
        file.write_bytes(made.kept[name])
    RUN.write_text(run.to_json() + "\n")
    return run
