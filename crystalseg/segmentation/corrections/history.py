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


@dataclass(frozen=True)
class Change:
    """A possible correction, undo or redo, ready for `History.commit`. box, new: the labels int32 that change; marks,
    confidence: their new values; numbers: of the crystals that change, appear or disappear; done, undone: the new
    corrections in force and those undone; rests_on: the corrections in force before."""

    box: tuple[slice, slice]
    new: np.ndarray
    marks: dict[int, str]
    confidence: np.ndarray
    numbers: set[int]
    done: tuple[_Step, ...]
    undone: tuple[Correction, ...]
    rests_on: tuple[_Step, ...]


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
        self._done: tuple[_Step, ...] = ()
        self._undone: tuple[Correction, ...] = ()

    @property
    def log(self) -> tuple[Correction, ...]:
        """The corrections in force, oldest first."""
        return tuple(step.correction for step in self._done)

    def do(self, asked: Correction | Undo) -> set[int]:
        """Carry out a correction, `undo` or `redo`. Returns the numbers of crystals that changed, appeared or
        disappeared. If it raises CorrectionError, nothing has changed."""
        change = self.prepare(asked)
        self.commit(change, in_place=True)
        return change.numbers

    def prepare(self, asked: Correction | Undo) -> Change:
        """Return what a correction, `undo` or `redo` will change, without changing anything. Raises CorrectionError if
        it is impossible."""
        if isinstance(asked, Correction):
            return self._carried_out(asked, ())
        if asked == "redo":
            if not self._undone:
                raise CorrectionError("There is nothing to redo.")
            return self._carried_out(self._undone[-1], self._undone[:-1])
        if not self._done:
            raise CorrectionError("There is nothing to undo.")
        step = self._done[-1]
        numbers = differing(self.labels[step.box], step.before) | set(step.correction.ids)
        undone = (*self._undone, step.correction)
        return Change(step.box, step.before, step.marks, step.confidence, numbers, self._done[:-1], undone, self._done)

    def commit(self, change: Change, in_place: bool = False) -> None:
        """Apply a change. Label arrays held elsewhere stay unchanged, unless the change is made `in_place`. Raises
        LookupError if something else has changed since the change was prepared."""
        if change.rests_on is not self._done:
            raise LookupError("the change was prepared for another state of the labels")
        labels = self.labels if in_place else self.labels.copy()
        labels[change.box] = change.new
        self.labels, self.marks, self.confidence = labels, change.marks, change.confidence
        self._done, self._undone = change.done, change.undone

    def _carried_out(self, c: Correction, undone: tuple[Correction, ...]) -> Change:
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
        step = _Step(c, box, self.labels[box].copy(), self.marks, self.confidence)
        changed = differing(step.before, new) | set(c.ids)
        names = numbers_in(new)
        highest = max(names | {len(self.confidence)})
        grown = np.append(self.confidence, np.ones(highest - len(self.confidence), np.float32))
        decided = sorted((changed & names) if c.kind != "mark" else ())
        grown[[n - 1 for n in decided]] = 1
        marks = {**self.marks, **dict.fromkeys(c.ids, c.mark)} if c.kind == "mark" else self.marks
        marks = {n: m for n, m in marks.items() if m != "crystal" and not (n in changed and n not in names)}
        return Change(box, new, marks, grown, changed, (*self._done, step), undone, self._done)


def replay(history: History, entries: Iterable[Correction | Undo]) -> History:
    """Carry out a log from its start, including undo and redo. Returns `history`."""
    for entry in entries:
        history.do(entry)
    return history


def logged(entry: dict) -> Correction | Undo:
    """What an entry of the log on record asked for."""
    return entry["kind"] if entry["kind"] in get_args(Undo) else Correction.from_dict(entry)


def history_of(segmentation: Segmentation, pixels: np.ndarray, log: Iterable[dict]) -> History:
    """Return a segmentation of `pixels` with the corrections of a log as on record."""
    evidence = Evidence(pixels, segmentation.scales, segmentation.settings.instances.foreground_threshold)
    return replay(History(segmentation.labels, segmentation.confidence, evidence), map(logged, log))
