"""The worker processes of a home folder. Each has a numbered place, which it holds as long as it lives."""

import os
import subprocess
from pathlib import Path

from filelock import FileLock, Timeout

from crystalseg import environment, places
from crystalseg.errors import UserError

GIGABYTES = 2.5  # GiB that a worker uses for an image of 4000 × 4000 px


def room() -> int:
    """Return how many workers this machine has room for: each needs two processors and the memory for a large image."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min((os.cpu_count() or 1) // 2, int(memory / GIGABYTES) - 1))


def scheduler() -> str:
    """Return the address of the Dask cluster that computes for the workers, from $CRYSTALSEG_SCHEDULER; "" if they
    compute themselves."""
    return environment.value("CRYSTALSEG_SCHEDULER")


def chosen() -> int:
    """Return the number of workers from $CRYSTALSEG_WORKERS: a number, or "auto" for as many as there is room for; by
    default one. With a cluster, it is the number of runs sent to it at a time. Raises UserError if the value is
    neither."""
    text = environment.value("CRYSTALSEG_WORKERS") or "1"
    if text == "auto":
        return room()
    if not (text.isdecimal() and 1 <= int(text) <= 64):
        raise UserError(f"The number of workers must be 1 to 64, or auto, not '{text}'.")
    return int(text)


class Workers:
    """Start workers, and tell which are alive. `folder` holds the jobs and the lock files of the places; `count` is the
    largest number of workers."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.count = folder, count
        self._own: dict[int, subprocess.Popen] = {}

    def hold(self, place: int, timeout: float = 0.0) -> FileLock:
        """Hold a place; the system releases it when the process dies. Raises filelock's Timeout while another process
        holds it."""
        lock = FileLock(self.folder / f"worker-{place}.lock")
        lock.acquire(timeout=timeout)
        return lock

    def lives(self, place: int) -> bool:
        """Return whether a worker holds the place, or one that this process started is still starting there."""
        own = self._own.get(place)
        if own is not None and own.poll() is None:
            return True
        try:
            self.hold(place).release()
        except Timeout:
            return True
        return False

    def start(self, wanted: int) -> None:
        """Make sure that there is a worker for each of the `wanted` jobs, up to `count`."""
        for place in range(min(wanted, self.count)):
            if not self.lives(place):
                self._own[place] = self._started(place)

    def _started(self, place: int) -> subprocess.Popen:
        """Start a worker. All workers together use the machine's processors."""
        variables = os.environ | {"CRYSTALSEG_HOME": str(self.folder.parent)}
        if self.count > 1:
            variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.count))
        with (self.folder / "worker.log").open("ab") as log:
            return places.start("worker", str(place), stdout=log, stderr=log, env=variables)

    def close(self) -> None:
        """Stop the workers that this process started, at once."""
        for worker in self._own.values():
            worker.kill()
            worker.wait(10)
