"""Labels with their corrections: undo, redo, and a log that can be replayed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from crystalseg.segmentation.corrections.actions import ACTIONS, differing, numbers_in, present
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError, Undo
from crystalseg.segmentation.corrections.evidence import Evidence
from crystalseg.segmentation.segmentation import Segmentation


@dataclass(frozen=True)
class _Step:
    """A finished correction and what it replaced: labels int32 within `box`, and previous marks and confidence."""

    correction: Correction
    box: tuple[slice, slice]
    before: np.ndarray
    marks: dict[int, str]
    confidence: np.ndarray


class History:
    """Labels with their corrections.

    labels: int32 (H, W), not necessarily consecutive; confidence: float32 (highest number ever,), 1 where a person
    decided; marks: {number: pore or artefact}.
    """

    def __init__(self, labels: np.ndarray, confidence: np.ndarray, evidence: Evidence):
        self.labels = labels.astype(np.int32, copy=True)
        self.confidence = confidence.astype(np.float32, copy=True)
        self.marks: dict[int, str] = {}
        self.evidence = evidence
        self._done: list[_Step] = []
        self._undone: list[Correction] = []

    @property
    def log(self) -> tuple[Correction, ...]:
        """The corrections in force, oldest first."""
        return tuple(step.correction for step in self._done)

    def do(self, correction: Correction) -> set[int]:
        """Carry out a correction. Returns the numbers of crystals that changed, appeared or disappeared. If it raises
        CorrectionError, nothing has changed."""
        changed = self._carry_out(correction)
        self._undone.clear()
        return changed

    def undo(self) -> set[int]:
        """Undo the last correction. Returns the affected numbers."""
        if not self._done:
            raise CorrectionError("There is nothing to undo.")
        step = self._done.pop()
        now = self.labels[step.box]
        changed = differing(now, step.before) | set(step.correction.ids)
        now[...] = step.before
        self.marks, self.confidence = step.marks, step.confidence
        self._undone.append(step.correction)
        return changed

    def redo(self) -> set[int]:
        """Redo the correction that was last undone. Returns the affected numbers."""
        if not self._undone:
            raise CorrectionError("There is nothing to redo.")
        changed = self._carry_out(self._undone[-1])
        self._undone.pop()
        return changed

    def _carry_out(self, c: Correction) -> set[int]:
        # Requests that lag behind (from another page, or a mouse that moved on) must not act on crystals that are gone.
        there = present(self.labels, c.ids)
        if set(c.ids) - there:
            gone = ", ".join(map(str, sorted(set(c.ids) - there)))
            raise CorrectionError(f"There is no crystal {gone}. Nothing was changed.")
        height, width = self.labels.shape
        # An outline or a line may extend beyond the image, but a click may not.
        beyond = any(not (-0.5 <= y < height and -0.5 <= x < width) for y, x in c.points)
        if beyond and c.kind not in ("redraw", "cut"):
            raise CorrectionError("A point lies outside the image. Nothing was changed.")
        box, new = ACTIONS[c.kind](self.labels, c, self.evidence, len(self.confidence) + 1)
        step = _Step(c, box, self.labels[box].copy(), dict(self.marks), self.confidence)
        changed = differing(step.before, new) | set(c.ids)
        names = numbers_in(new)
        highest = max(names | {len(self.confidence)})
        grown = np.append(self.confidence, np.ones(highest - len(self.confidence), np.float32))
        decided = sorted((changed & names) if c.kind != "mark" else ())
        grown[[n - 1 for n in decided]] = 1
        self.labels[box] = new
        self.confidence = grown
        if c.kind == "mark":
            self.marks = {**self.marks, **dict.fromkeys(c.ids, c.mark)}
        self.marks = {n: m for n, m in self.marks.items() if m != "crystal" and not (n in changed and n not in names)}
        self._done.append(step)
        return changed


def replay(history: History, entries: Iterable[Correction | Undo]) -> History:
    """Carry out a log from its start, including undo and redo. Returns `history`."""
    for entry in entries:
        if isinstance(entry, Correction):
            history.do(entry)
        else:
            getattr(history, entry)()
    return history


def _logged(entry: dict) -> Correction | Undo:
    return entry["kind"] if entry["kind"] in get_args(Undo) else Correction.from_dict(entry)


def history_of(segmentation: Segmentation, pixels: np.ndarray, log: Iterable[dict]) -> History:
    """Return a segmentation of `pixels` with the corrections of a log as on record."""
    evidence = Evidence(pixels, segmentation.scales, segmentation.settings.instances.foreground_threshold)
    return replay(History(segmentation.labels, segmentation.confidence, evidence), map(_logged, log))
