"""Report the progress and timing of a run, and stop it."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a run. stage: current stage, in words; done of total: tiles in this stage; share: of the run,
    0..1."""

    stage: str
    done: int
    total: int
    share: float


class Cancelled(Exception):  # noqa: N818 - not an error
    """Raised by a progress callback to stop a run."""


class Clock:
    """Measures seconds by stage."""

    def __init__(self) -> None:
        self.timings: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.timings[stage] = self.timings.get(stage, 0.0) + now - self._last
        self._last = now
