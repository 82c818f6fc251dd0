"""The run that exists when the app first opens. It is shipped with the program; its maps are computed in the
background."""

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
    """Return the id of the job that measures the first example with the default settings and their shipped weights."""
    return _named(canonical([weights(), Settings(), examples.FIRST]))


def earlier_name() -> str:
    """Return `job_name` as releases up to 0.1 made it. A shipped run may still have this name."""
    return _named(f"({weights()!r}, {DEFAULT_SETTINGS}, {examples.FIRST!r})")


def _named(of: str) -> str:
    return EXAMPLE + hashlib.sha256(of.encode()).hexdigest()[:10]


def weights() -> str:
    """Return the hash of the shipped weights that the default settings need."""
    files = [DIRECTORY / f"{name}.safetensors" for name in Settings().networks]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


def first_job(queue: Queue) -> str:
    """Return the id of that job, and submit it unless it is there. If the shipped run is a run of this job, put it on
    record at once."""
    run = shipped()
    job = run.id if run and run.id in (job_name(), earlier_name()) else job_name()
    if not queue.is_under_way(job):
        store.put((examples.FOLDER / examples.FIRST).read_bytes())
        if run is not None and run.id == job:
            record(queue.engine, run, {name: file.read_bytes() for name, file in FILES.items()})
        queue.submit(examples.first(), Settings(), job)
    return job


def shipped() -> Run | None:
    """Return the run shipped with the program, or None."""
    return Run.from_dict(json.loads(RUN.read_text())) if RUN.exists() else None


def ship() -> Run:
    """Measure the first example, and write its run and its files, to be shipped."""
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
    run = replace(made.run, timings={})  # timings hold only for this machine
    for name, file in FILES.items():
        file.write_bytes(made.kept[name])
    RUN.write_text(run.to_json() + "\n")
    return run
