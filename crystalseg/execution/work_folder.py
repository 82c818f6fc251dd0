"""A folder in which long work lies, a batch's or a mosaic's: one process does it, and it can be asked to stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from crystalseg.execution.batch_source import BatchError
from crystalseg.record import store

LOCK = "batch.lock"
GLANCE = 0.5  # s, in which whoever only looks whether there is a lock (`is_locked`) has let go of it again


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """The work in `folder` is this process's; BatchError if it is another's. name: of the file that says so."""
    try:
        lock = FileLock(folder / name).acquire(timeout=GLANCE)
    except Timeout:
        raise BatchError(f"The work in {folder} is running already.") from None
    with lock:
        yield


def is_locked(folder: Path, name: str = LOCK) -> bool:
    """Whether a process does the work in `folder`."""
    try:
        # not at once: others may be looking just now, too
        with FileLock(folder / name).acquire(timeout=GLANCE / 5, poll_interval=GLANCE / 50):
            return False
    except Timeout:
        return True


def ask(folder: Path, what: str) -> None:
    """Ask running work to be `paused` or `cancelled` after what is under way, or with "" to go on."""
    store.write_safely(folder / "asked", what.encode())


def asked(folder: Path) -> str:
    """What was asked of it last."""
    file = folder / "asked"
    return file.read_text() if file.exists() else ""
