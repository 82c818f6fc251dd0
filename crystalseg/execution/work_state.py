"""The state of long work, in files of its folder. One process does the work, reports its progress and can be asked to
stop."""

import fcntl
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from crystalseg.errors import UserError
from crystalseg.execution.failure import failure
from crystalseg.record import store
from crystalseg.segmentation.progress import Cancelled

LOCK = "batch.lock"  # used by all kinds of work, despite its name
ASKED, STATE, LOG = "asked", "state.json", "log.txt"
GLANCE = 0.5  # s within which a process that only tests the lock (`is_locked`) has released it
STARTING = 60.0  # s within which started work must hold its lock
OFTEN = 0.5  # s between two writes of the state
ENDED = ("done", "cancelled")  # work that continues only if a person asks for it

_TEXTS = {"id", "name", "source", "operator", "sample", "customer", "results", "sha256"}  # entries of requests
_LISTS = {"names", "formats", "notes"}
T = TypeVar("T")

_started: dict[Path, subprocess.Popen] = {}  # processes started by this process


class WorkError(UserError):
    """Long work cannot begin or continue. The message is one sentence for the user."""


@dataclass(frozen=True)
class State:
    """The state of long work.

    status: waiting, starting, running, paused, cancelled, failed or done.
    stage: What is under way, in words.
    done, total: The number of parts that are done, and of all parts, as its kind counts them.
    share: The share of all the work that is done, 0..1.
    left: The time left in s, NaN if unknown.
    reasons: The name and reason of each part that failed.
    error: One sentence if the whole work failed.
    made: What it has produced so far, such as a model's reference, or "".
    """

    status: str = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    share: float = 0.0
    left: float = math.nan
    reasons: tuple[tuple[str, str], ...] = ()
    error: str = ""
    made: str = ""

    @property
    def is_active(self) -> bool:
        """Whether a process is doing the work or is about to."""
        return self.status in ("starting", "running")


_EARLIER = {"state": "status", "title": "stage", "model": "made", "part": "done", "parts": "total"}  # names in 0.1
_KEPT = {f.name for f in fields(State)} - {"left", "reasons"}


def state_of(folder: Path) -> State:
    """Return the state of the work in `folder` from its files. Work whose process is gone is paused."""
    state, at = _read(folder)
    if is_locked(folder):
        return replace(state, status="running")
    if state.status == "running":
        return replace(state, status=asked(folder) or "paused", left=math.nan)
    if state.status == "starting" and not _is_starting(folder, at):
        sentence = f"The process ended before it began to work. {folder / LOG} says more."
        return replace(state, status="failed", error=sentence)
    return state


def is_done(folder: Path) -> bool:
    """Return whether the work in `folder` is done. The caller holds its lock."""
    return _read(folder)[0].status == "done"


def _read(folder: Path) -> tuple[State, float]:
    """Return the state in the file, also in the format of earlier releases, and when it was written, s since 1970."""
    try:
        facts: dict[str, Any] = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return State(), 0.0
    named = {_EARLIER.get(key, key): value for key, value in facts.items()}
    rate, at = facts.get("rate") or 0.0, facts.get("at", 0.0)
    state = State(**{key: value for key, value in named.items() if key in _KEPT})
    if state.status == "done":
        state = replace(state, share=1.0)
    if state.status == "running" and rate > 0:
        state = replace(state, left=max(0.0, (1 - state.share) / rate - (time.time() - at)))
    return state, at


def _is_starting(folder: Path, at: float) -> bool:
    process = _started.get(folder)
    return (process is None or process.poll() is None) and time.time() - at < STARTING


def started(folder: Path, process: subprocess.Popen) -> None:
    """Note that a process was started to do the work."""
    _started[folder] = process
    _write(folder, replace(_read(folder)[0], status="starting", error=""), 0.0)


def ended(folder: Path, status: str) -> None:
    """Set work that no process is doing to `paused` or `cancelled`, unless it is done."""
    with locked(folder):
        state, _ = _read(folder)
        if state.status != "done":
            _write(folder, replace(state, status=status), 0.0)


def _write(folder: Path, state: State, rate: float) -> None:
    facts = {key: value for key, value in asdict(state).items() if key in _KEPT}
    store.write_safely(folder / STATE, json.dumps(facts | {"rate": rate, "at": time.time()}).encode())


class Reporter:
    """Report the progress of work: to its state file and to `report`."""

    def __init__(self, folder: Path, report: Callable[[State], None] = lambda _: None) -> None:
        self.folder, self.report = folder, report
        self.state = replace(_read(folder)[0], status="running", error="", left=math.nan)
        self._began, self._first = time.monotonic(), self.state.share
        self._last, self._stage = -math.inf, ""
        self()

    def __call__(self, **changes: Any) -> None:
        """Change fields of the state. A new stage or status is written to the file at once, other changes every OFTEN
        seconds."""
        self.state = replace(self.state, **changes)
        self.report(self.state)
        shown = self.state.stage + self.state.status
        if shown == self._stage and time.monotonic() - self._last < OFTEN:
            return
        self._last, self._stage = time.monotonic(), shown
        _write(self.folder, self.state, self._rate())

    def _rate(self) -> float:
        """Return the share per second since the work began or continued. The time left follows from it."""
        if self.state.left >= 0:  # the caller knows the time left
            return (1 - self.state.share) / max(self.state.left, 1e-3)
        return max(0.0, self.state.share - self._first) / max(time.monotonic() - self._began, 1e-3)

    def check(self) -> None:
        """Raise `Cancelled` if the work was asked to stop."""
        if asked(self.folder):
            raise Cancelled


@contextmanager
def working(folder: Path, report: Callable[[State], None] = lambda _: None) -> Iterator[Reporter]:
    """Hold the work in `folder` for this process, and report its state. `Cancelled` ends it as paused, or as whatever
    was requested; Ctrl-C ends it as paused, and any other error as failed. Raises WorkError if another process is doing
    the work."""
    with locked(folder):
        reporter = Reporter(folder, report)
        try:
            yield reporter
        except Cancelled:
            reporter(status=asked(folder) or "paused")
        except KeyboardInterrupt:
            reporter(status="paused")
            raise
        except Exception as error:
            reporter(status="failed", error=failure(error))
            raise
        else:
            stopped = reporter.state.status != "running"
            reporter(**{} if stopped else {"status": "done", "stage": "", "share": 1.0})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of the work in `folder`. Raises WorkError if another process holds it."""
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=GLANCE)
    except Timeout:
        raise WorkError(f"The work in {folder} is already running. Wait until it ends, or pause it.") from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process is doing the work in `folder`."""
    try:
        file = (folder / LOCK).open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: testing processes do not block each other
        except BlockingIOError:
            return True
    return False


def ask(folder: Path, what: str) -> None:
    """Ask for work to be `paused` or `cancelled` after what is under way, or to continue with ""."""
    store.write_safely(folder / ASKED, what.encode())


def asked(folder: Path) -> str:
    """Return the last request to the work in `folder`."""
    file = folder / ASKED
    return file.read_text() if file.exists() else ""


def order_in(file: Path, what: str, made: Callable[[dict[str, Any]], T]) -> T:
    """Read a request from a JSON file; `made` makes it from the entries. Raises WorkError if the file is missing, so
    that its folder holds no `what`, or if nothing can be made of its entries because it is damaged or was edited."""
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        _check_entries(facts)
        return made(facts)
    except OSError as error:
        raise WorkError(f"There is no {what} in {file.parent}.") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WorkError(f"{file} is damaged. Remove its folder, and begin the {what} again.") from error


def _check_entries(facts: Any) -> None:
    """Check the types of the entries that many kinds of requests have; raises TypeError."""
    if not isinstance(facts, dict):
        raise TypeError("A request must be a JSON object.")
    for key in _TEXTS & set(facts):
        if not isinstance(facts[key], str):
            raise TypeError(f"{key} must be text.")
    for key in _LISTS & set(facts):
        given = facts[key] or []
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            raise TypeError(f"{key} must be a list of texts.")
