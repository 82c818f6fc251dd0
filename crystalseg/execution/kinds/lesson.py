"""A lesson: what a model is taught, and which areas are left out in turn to measure how good it becomes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from skimage.measure import label as connected
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.execution.work import Kind, Work, clear
from crystalseg.execution.work_state import is_done, locked, order_in
from crystalseg.measurement.uncertainty import LEAST_IMAGES
from crystalseg.micrographs.annotations import Annotation, distinct, middle
from crystalseg.record import store
from crystalseg.record.annotations import RecordedAnnotation, annotations, read
from crystalseg.record.models import check_name, find
from crystalseg.segmentation.settings import Settings

MOST_SPLITS = 5  # with more areas, groups of areas are left out
MOST_REHEARSED = 8  # largest number of annotations of other materials on record
REHEARSED_SIDE = 512  # px of the field that is used of each, so that they take little of the time

Listed = tuple[tuple[str, tuple[str, str], float | None], ...]  # name, hashes of image and labels, um_per_px


class LessonError(UserError):
    """The lesson cannot be given. The message is one sentence for the user."""


@dataclass(frozen=True)
class Lesson:
    """The request to teach a model.

    name: The name of the model.
    parent: The `NAME:VERSION` to begin from, "" for the shipped weights.
    network: Its architecture.
    minutes: The time until the model can be used.
    who, created: Who requested it, and when.
    annotations: For each annotation its name, the hashes of image and labels, and um_per_px or None.
    steps, every: The number of steps of a split, and of those between evaluations; 0 until measured.
    rehearsed: Annotations of other materials, rehearsed so that those are not forgotten.
    """

    name: str
    material: str
    parent: str
    network: str
    minutes: float
    who: str
    created: str
    annotations: Listed
    steps: int = 0
    every: int = 0
    rehearsed: Listed = ()

    @property
    def id(self) -> str:
        """The model's name, because a model has one lesson at a time."""
        return self.name

    @property
    def operator(self) -> str:
        """The person who requested it."""
        return self.who

    @property
    def title(self) -> str:
        """What it is, in words, for people."""
        return f"{self.name}: {len(self.annotations)} labelled images of {self.material}"

    def save(self, folder: Path) -> None:
        store.write_safely(folder / "lesson.json", json.dumps(asdict(self), indent=1).encode())

    def read(self) -> list[Annotation]:
        """Read the annotations that are learnt."""
        return distinct([read(*one) for one in self.annotations])

    def read_rehearsed(self) -> list[Annotation]:
        """Read a field of each annotation on record that is rehearsed."""
        cut = (middle(read(*one), REHEARSED_SIDE) for one in self.rehearsed)
        return [field for field in cut if field.crystals]

    @property
    def data(self) -> tuple[str, ...]:
        """The hash of each annotation that is learnt."""
        return _hashes(self.annotations)

    @property
    def rehearsed_data(self) -> tuple[str, ...]:
        """The hash of each annotation on record that is rehearsed."""
        return _hashes(self.rehearsed)


def _hashes(listed: Listed) -> tuple[str, ...]:
    return tuple(store.digest(*files) for _, files, _ in listed)


def load(folder: Path) -> Lesson:
    """Return the lesson in `folder`. Raises WorkError if there is none."""
    return order_in(folder / "lesson.json", "lesson", _lesson)


def _lesson(facts: dict[str, Any]) -> Lesson:
    known = {f.name for f in fields(Lesson)}
    for key in {"annotations", "rehearsed"} & set(facts):
        facts[key] = tuple((name, tuple(files), um) for name, files, um in facts[key])
    return Lesson(**{key: value for key, value in facts.items() if key in known})


def listed(kept: Sequence[RecordedAnnotation]) -> Listed:
    """Return annotations on record in the form of a Lesson."""
    return tuple((one.name, one.files, one.um_per_px) for one in kept)


def of_others(engine: Engine, material: str) -> list[RecordedAnnotation]:
    """Return the annotations of other materials on record, oldest first."""
    return [one for one in annotations(engine) if one.material != material]


def folder_of(name: str) -> Path:
    """Return the folder in which the model of that name is taught, one lesson at a time."""
    return store.home() / "teaching" / check_name(name)


def prepare(
    engine: Engine,
    name: str,
    material: str,
    kept: Sequence[RecordedAnnotation],
    parent: str = "",
    minutes: float = 10.0,
    who: str = "",
) -> Path:
    """Begin a lesson, and return its folder. Raises UserErrors, which say why it cannot be given: a lesson of this name
    is under way, there is nothing to learn, an image occurs twice, or the parent does not exist."""
    folder = folder_of(name)
    if not kept:
        raise LessonError(f"There is no labelled image of {material or 'this material'} yet. Add one first.")
    if not 0.1 <= minutes <= 10_000:
        raise LessonError("The training time must be between 0.1 and 10,000 minutes.")
    from_model = find(engine, parent) if parent else None
    network = from_model.network if from_model else Settings().network
    reference = from_model.reference if from_model else ""
    rehearsed = listed(of_others(engine, material)[1::2][-MOST_REHEARSED:])  # the others show what was forgotten
    lesson = Lesson(name, material, reference, network, minutes, who, store.now(), listed(kept), rehearsed=rehearsed)
    lesson.read()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (folder / "lesson.json").exists() and not is_done(folder):
            raise LessonError(
                f"{load(folder).who or 'Somebody'} is already teaching the model {name}. Go on with that lesson or "
                "discard it, or choose another name."
            )
        clear(folder)
        lesson.save(folder)
    return folder


@dataclass(frozen=True)
class Split:
    """The annotations `learnt` and `left_out` in one part of a lesson. `title` says in words what is done. Nothing is
    left out for the model itself."""

    title: str
    learnt: tuple[Annotation, ...]
    left_out: tuple[Annotation, ...]

    @property
    def is_model(self) -> bool:
        return not self.left_out


def splits(annotations: Sequence[Annotation]) -> list[Split]:
    """Return the splits in order. The first leaves some areas out, and determines when to stop. The second makes the
    model from everything. The others leave the other areas out, so that each area is scored by a network that did not
    learn it."""
    whole = Split("the model, from all areas", tuple(annotations), ())
    units = areas(annotations)
    if len(units) < 2:
        return [whole]
    count = min(len(units), MOST_SPLITS)
    without = []
    for k in range(count):
        out = units[k::count]
        learnt = tuple(rest for one in annotations if (rest := _less(one, out)) is not None)
        without.append(Split(f"validation {k + 1} of {count}", learnt, tuple(out)))
    return [without[0], whole, *without[1:]]


def areas(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Return what can be left out separately: images if there are enough of them, else the separate checked areas."""
    if len(annotations) >= LEAST_IMAGES:
        return list(annotations)
    found = []
    for one in annotations:
        pieces = connected(one.checked, connectivity=1)
        each = (replace(one, checked=pieces == k) for k in range(1, pieces.max() + 1))
        found += [piece for piece in each if piece.crystals]
    return found if len(found) > len(annotations) else list(annotations)


def _less(one: Annotation, out: Sequence[Annotation]) -> Annotation | None:
    """Return an annotation without the areas of its image that are left out, or None if nothing is left."""
    same = [other.checked for other in out if other.micrograph is one.micrograph]
    if not same:
        return one
    rest = replace(one, checked=one.checked & ~np.logical_or.reduce(same))
    return rest if rest.checked.any() and rest.crystals else None


def learning_curve(folder: Path, number: int) -> pd.DataFrame:
    """Return the learning curve of a split so far, with one row per evaluation. Rows repeated after an interruption are
    dropped."""
    file = folder / f"part-{number}" / "learn.csv"
    if not file.exists():
        return pd.DataFrame({"step": [], "loss": [], "validation_loss": []})
    rows = pd.read_csv(file, on_bad_lines="skip").dropna(subset="learning_rate")
    return rows.drop_duplicates("step", keep="last").sort_values("step").reset_index(drop=True)


class LessonKind(Kind):
    """A model that is taught a material."""

    name = "lesson"
    place = "teaching"
    files = ("lesson.json",)
    parts = "parts"

    def asked(self, folder: Path) -> Lesson:
        return load(folder)

    def carry_out(
        self, work: Work, engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        from crystalseg.execution import teaching  # loads torch
        from crystalseg.execution import workers as cluster

        teaching.run(work.folder, engine, scheduler=scheduler or cluster.scheduler())

    def reads(self, work: Work) -> set[str]:
        return {image for _, (image, _), _ in (*work.asked.annotations, *work.asked.rehearsed)}


KIND = LessonKind()
