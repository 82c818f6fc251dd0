"""The worker processes of a home folder: each has a place, by number, which it holds for as long as it lives."""

import os
import subprocess
from pathlib import Path

from filelock import FileLock, Timeout

from crystalseg import environment, places
from crystalseg.errors import UserError

GIGABYTES = 2.5  # that a worker takes with an image of 4000 × 4000 px


def room() -> int:
    """How many workers this machine has room for: two processors each, and the memory that a large image takes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min((os.cpu_count() or 1) // 2, int(memory / GIGABYTES) - 1))


def scheduler() -> str:
    """Address of the Dask cluster that computes for the workers, by $CRYSTALSEG_SCHEDULER; "" if they do it
    themselves."""
    return environment.value("CRYSTALSEG_SCHEDULER")


def chosen() -> int:
    """How many workers there are to be, by $CRYSTALSEG_WORKERS: a number, or "auto" for as many as there is room for;
    one if it says nothing. UserError if it is none. Where a cluster computes, it is how many runs are sent to it at
    the same time."""
    text = environment.value("CRYSTALSEG_WORKERS") or "1"
    if text == "auto":
        return room()
    if not (text.isdecimal() and 1 <= int(text) <= 64):
        raise UserError(f"The number of workers is 1 to 64, or auto; '{text}' is not.")
    return int(text)


class Workers:
    """Starts workers and sees which live. folder: where jobs and the files are that mark places; count: how many there
    are at most."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.count = folder, count
        self._own: dict[int, subprocess.Popen] = {}

    def hold(self, place: int, timeout: float = 0.0) -> FileLock:
        """Take a place: the system gives it back when the process dies. filelock's Timeout while another has it."""
        lock = FileLock(self.folder / f"worker-{place}.lock")
        lock.acquire(timeout=timeout)
        return lock

    def lives(self, place: int) -> bool:
        """Whether a worker has the place, or one is just starting there that was started here."""
        own = self._own.get(place)
        if own is not None and own.poll() is None:
            return True
        try:
            self.hold(place).release()
        except Timeout:
            return True
        return False

    def start(self, wanted: int) -> None:
        """See that as many work as there are jobs `wanted` done, up to `count`."""
        for place in range(min(wanted, self.count)):
            if not self.lives(place):
                self._own[place] = self._started(place)

    def _started(self, place: int) -> subprocess.Popen:
        """A worker; together they have the machine's processors."""
        variables = os.environ | {"CRYSTALSEG_HOME": str(self.folder.parent)}
        if self.count > 1:
            variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.count))
        with (self.folder / "worker.log").open("ab") as log:
            return places.start("worker", str(place), stdout=log, stderr=log, env=variables)

    def close(self) -> None:
        """Stop those that were started here at once."""
        for worker in self._own.values():
            worker.kill()
            worker.wait(10)
