"""The run that is there when the app opens."""

import hashlib
import time
from collections.abc import Callable

from crystalseg.execution.queue import EXAMPLE, Queue
from crystalseg.micrographs.examples import FIRST, FOLDER, first
from crystalseg.networks import DIRECTORY
from crystalseg.record import store
from crystalseg.segmentation.settings import Settings


def first_job(queue: Queue) -> str:
    """The job that measures `first` with the default settings and the shipped weights; submitted unless it is there."""
    settings = Settings()
    weights = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(DIRECTORY.glob("*.safetensors")))).hexdigest()
    job = EXAMPLE + hashlib.sha256(repr((weights, settings, FIRST)).encode()).hexdigest()[:10]
    if not queue.is_under_way(job):
        store.put((FOLDER / FIRST).read_bytes())
        queue.submit(first(), settings, job)
    return job


def prepare(seconds: float = 120.0, report: Callable[[str], None] = lambda _: None) -> None:
    """Measure the first example now, so that the app opens with it; `report` is told if that takes a while."""
    queue = Queue()
    job = first_job(queue)
    if queue.is_active(job):
        report("Measuring the first example micrograph, this once; then the app opens.")
    end = time.monotonic() + seconds
    while queue.is_active(job) and time.monotonic() < end:
        time.sleep(0.1)
    queue.close()
