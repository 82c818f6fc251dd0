"""How far a lesson is, in a file of its folder that a page reads."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from crystalseg.execution.work_folder import is_locked
from crystalseg.record import store


@dataclass(frozen=True)
class State:
    """How far a lesson is. status: waiting, running, paused, done or failed; part, parts: which is learnt, of how many;
    title: of it, in words; step, steps; left: seconds until all is done, as far as known; model: its reference, "" as
    long as it cannot be used; error: one sentence, if it failed."""

    status: str = "waiting"
    part: int = 0
    parts: int = 1
    title: str = ""
    step: int = 0
    steps: int = 0
    left: float = float("nan")
    model: str = ""
    error: str = ""

    @property
    def share(self) -> float:
        """0..1."""
        inner = self.step / self.steps if self.steps else 0.0
        return 1.0 if self.status == "done" else min(1.0, (self.part + inner) / self.parts)


def state_of(folder: Path) -> State:
    """How far the lesson in `folder` is; one whose process is gone is paused."""
    try:
        state = State(**json.loads((folder / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        state = State()
    if state.status in ("running", "waiting"):
        if is_locked(folder):
            return replace(state, status="running")
        return replace(state, status="paused" if state.status == "running" else "waiting")
    return state


class Told:
    """How far it is, in a file that a page reads."""

    def __init__(self, folder: Path, report: Callable[[State], None]) -> None:
        self.folder, self.report, self.last = folder, report, float("-inf")
        before = state_of(folder)
        self.state = replace(before, status="running", error="", left=float("nan"))
        self()

    def __call__(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        if set(changes) <= {"step", "left"} and time.monotonic() - self.last < 1:
            return
        self.last = time.monotonic()
        store.write_safely(self.folder / "state.json", json.dumps(asdict(self.state)).encode())
        self.report(self.state)


def learning_curve(folder: Path, part: int) -> pd.DataFrame:
    """What was seen of a part so far, a row a look, without what was computed again after an interruption."""
    file = folder / f"part-{part}" / "learn.csv"
    if not file.exists():
        return pd.DataFrame({"step": [], "loss": [], "validation_loss": []})
    rows = pd.read_csv(file, on_bad_lines="skip").dropna(subset="learning_rate")
    return rows.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)
