"""How far long work is, in files of its folder: one process does it, says how far it is, and can be asked to stop."""

import fcntl
import json
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from crystalseg.errors import UserError
from crystalseg.execution.failure import failure
from crystalseg.record import store
from crystalseg.segmentation.progress import Cancelled

LOCK = "batch.lock"  # of all kinds of work; the name is that of the first kind
ASKED, STATE, LOG = "asked", "state.json", "log.txt"
GLANCE = 0.5  # s, in which whoever only looks whether there is a lock (`is_locked`) has let go of it again
STARTING = 60.0  # s until work that was just started must hold its lock
OFTEN = 0.5  # s between two writes of the state
ENDED = ("done", "cancelled")  # what will not go on unless a person wants it

_started: dict[Path, subprocess.Popen] = {}  # by this process


class WorkError(UserError):
    """Long work that cannot be begun or go on; the message is one sentence for the user."""


@dataclass(frozen=True)
class State:
    """How far work is. status: waiting, starting, running, paused, cancelled, failed or done; stage: what is under way,
    in words; done of total: parts of it, as its kind counts them; share: of all, 0..1; left: seconds, NaN if not known;
    reasons: name and reason of each part that failed; error: one sentence, if the whole failed; made: what came of it
    already, such as a model's reference, or ""."""

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
        """Whether a process does the work, or is about to."""
        return self.status in ("starting", "running")


_EARLIER = {"state": "status", "title": "stage", "model": "made", "part": "done", "parts": "total"}  # names in 0.1
_KEPT = {f.name for f in fields(State)} - {"left", "reasons"}


def state_of(folder: Path) -> State:
    """How far the work in `folder` is, by its files: work whose process has gone is paused."""
    state, at = _read(folder)
    if is_locked(folder):
        return replace(state, status="running")
    if state.status == "running":
        return replace(state, status=asked(folder) or "paused", left=math.nan)
    if state.status == "starting" and not _is_starting(folder, at):
        sentence = f"Its process ended before it began to work; {folder / LOG} says more."
        return replace(state, status="failed", error=sentence)
    return state


def _read(folder: Path) -> tuple[State, float]:
    """What the file says, also one that an earlier release wrote, and when that was written, s since 1970."""
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
    """Work that no process does is `paused` or `cancelled` from now on, unless it is done."""
    with locked(folder):
        state, _ = _read(folder)
        if state.status != "done":
            _write(folder, replace(state, status=status), 0.0)


def _write(folder: Path, state: State, rate: float) -> None:
    facts = {key: value for key, value in asdict(state).items() if key in _KEPT}
    store.write_safely(folder / STATE, json.dumps(facts | {"rate": rate, "at": time.time()}).encode())


class Reporter:
    """Says how far work is, to whoever reads its state and to `report`."""

    def __init__(self, folder: Path, report: Callable[[State], None] = lambda _: None) -> None:
        self.folder, self.report = folder, report
        self.state = replace(_read(folder)[0], status="running", error="", left=math.nan)
        self._began, self._first = time.monotonic(), self.state.share
        self._last, self._stage = -math.inf, ""
        self()

    def __call__(self, **changes: Any) -> None:
        """Fields of State that changed. The file is written at once for another stage or status, else every OFTEN."""
        self.state = replace(self.state, **changes)
        self.report(self.state)
        shown = self.state.stage + self.state.status
        if shown == self._stage and time.monotonic() - self._last < OFTEN:
            return
        self._last, self._stage = time.monotonic(), shown
        _write(self.folder, self.state, self._rate())

    def _rate(self) -> float:
        """Share a second since it was begun or gone on with, from which the time left follows."""
        if self.state.left >= 0:  # known better
            return (1 - self.state.share) / max(self.state.left, 1e-3)
        return max(0.0, self.state.share - self._first) / max(time.monotonic() - self._began, 1e-3)

    def check(self) -> None:
        """Raises `Cancelled` if the work was asked to stop."""
        if asked(self.folder):
            raise Cancelled


@contextmanager
def working(folder: Path, report: Callable[[State], None] = lambda _: None) -> Iterator[Reporter]:
    """This process does the work in `folder`, and says so; how that ended goes into its state: `Cancelled` is a pause,
    or what else was asked for, and any other error a failure. WorkError if another process does it."""
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
    """The work in `folder` is this process's; WorkError if it is another's."""
    try:
        lock = FileLock(folder / LOCK).acquire(timeout=GLANCE)
    except Timeout:
        raise WorkError(f"The work in {folder} is running already.") from None
    with lock:
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process does the work in `folder`."""
    try:
        file = (folder / LOCK).open("rb")
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who look are not in each other's way
        except BlockingIOError:
            return True
    return False


def ask(folder: Path, what: str) -> None:
    """Ask work to be `paused` or `cancelled` after what is under way, or with "" to go on."""
    store.write_safely(folder / ASKED, what.encode())


def asked(folder: Path) -> str:
    """What was asked of it last."""
    file = folder / ASKED
    return file.read_text() if file.exists() else ""


def order_in(file: Path, what: str) -> dict[str, Any]:
    """What a file of JSON says was asked for; WorkError if its folder holds no `what`, or the file is damaged."""
    try:
        facts = json.loads(file.read_text())
    except OSError as error:
        raise WorkError(f"{file.parent} holds no {what}.") from error
    except ValueError as error:
        raise WorkError(f"{file} is damaged: remove the folder, and begin the {what} anew.") from error
    if not isinstance(facts, dict):
        raise WorkError(f"{file} is damaged: remove the folder, and begin the {what} anew.")
    return facts
