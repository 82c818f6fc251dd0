"""What a model is to be taught, and what is left out of it in turn to see how good it becomes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.measure import label as connected
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.execution.work import Kind, Work, clear
from crystalseg.execution.work_state import locked, order_in, state_of
from crystalseg.measurement.uncertainty import LEAST_IMAGES
from crystalseg.micrographs.annotations import Annotation, distinct, middle
from crystalseg.record import store
from crystalseg.record.annotations import RecordedAnnotation, annotations, read
from crystalseg.record.models import check_name, find
from crystalseg.segmentation.settings import Settings

MOST_SPLITS = 5  # more areas are left out in groups
MOST_REHEARSED = 8  # annotations of other materials on record
REHEARSED_SIDE = 512  # px of each: a field, lest they take the time of the lesson

Listed = tuple[tuple[str, tuple[str, str], float | None], ...]  # annotations on record


class LessonError(UserError):
    """A lesson that cannot be given; the message is one sentence for the user."""


@dataclass(frozen=True)
class Lesson:
    """name: the model's; material; parent: `NAME:VERSION` to begin from, "" for the shipped weights; network: its
    architecture; minutes: until the model can be used; who: asks; created; annotations: of each, its name, the hashes
    of image and labels, and um_per_px or None; steps, every: how long a part learns and when it is looked at, 0 until
    that was measured; rehearsed: annotations of other materials, so that they are not forgotten."""

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
        """The model's name: one lesson of each at a time."""
        return self.name

    @property
    def operator(self) -> str:
        """Who asked for it."""
        return self.who

    @property
    def title(self) -> str:
        """In words, for people."""
        return f"{self.name}: {len(self.annotations)} labelled images of {self.material}"

    def save(self, folder: Path) -> None:
        store.write_safely(folder / "lesson.json", json.dumps(asdict(self), indent=1).encode())

    def read(self) -> list[Annotation]:
        """What is learnt."""
        return distinct([read(*one) for one in self.annotations])

    def read_rehearsed(self) -> list[Annotation]:
        """What is rehearsed of what is on record: a field of each."""
        cut = (middle(read(*one), REHEARSED_SIDE) for one in self.rehearsed)
        return [field for field in cut if field.crystals]

    @property
    def data(self) -> tuple[str, ...]:
        """What is learnt, by one hash each."""
        return _hashes(self.annotations)

    @property
    def rehearsed_data(self) -> tuple[str, ...]:
        """What is rehearsed of what is on record, likewise."""
        return _hashes(self.rehearsed)


def _hashes(listed: Listed) -> tuple[str, ...]:
    return tuple(store.digest(*files) for _, files, _ in listed)


def load(folder: Path) -> Lesson:
    """The lesson in `folder`; WorkError if there is none."""
    facts = order_in(folder / "lesson.json", "lesson")
    known = {f.name for f in fields(Lesson)}
    for key in {"annotations", "rehearsed"} & set(facts):
        facts[key] = tuple((name, tuple(files), um) for name, files, um in facts[key])
    return Lesson(**{key: value for key, value in facts.items() if key in known})


def listed(kept: Sequence[RecordedAnnotation]) -> Listed:
    """Annotations on record as a Lesson names them."""
    return tuple((one.name, one.files, one.um_per_px) for one in kept)


def of_others(engine: Engine, material: str) -> list[RecordedAnnotation]:
    """Annotations of other materials on record, the latest last."""
    return [one for one in annotations(engine) if one.material != material]


def folder_of(name: str) -> Path:
    """Where the model of that name is taught: one at a time."""
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
    """Begin a lesson; returns its folder. UserErrors say why it cannot be given: one of this name is under way,
    there is nothing to learn, an image is there twice, there is no such parent."""
    folder = folder_of(name)
    if not kept:
        raise LessonError(f"There is no labelled image of {material or 'this material'} yet: add one first.")
    if not 0.1 <= minutes <= 10_000:
        raise LessonError("A model is taught for 0.1 to 10,000 minutes.")
    from_model = find(engine, parent) if parent else None
    network = from_model.network if from_model else Settings().network
    reference = from_model.reference if from_model else ""
    rehearsed = listed(of_others(engine, material)[1::2][-MOST_REHEARSED:])  # the rest tells what is forgotten
    lesson = Lesson(name, material, reference, network, minutes, who, store.now(), listed(kept), rehearsed=rehearsed)
    lesson.read()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (folder / "lesson.json").exists() and state_of(folder).status != "done":
            raise LessonError(
                f"The model {name} is being taught already, by {load(folder).who or 'somebody'}: go on with that or "
                "discard it, or choose another name."
            )
        clear(folder)
        lesson.save(folder)
    return folder


@dataclass(frozen=True)
class Split:
    """learnt, left_out: annotations; title: of what is done, in words. Nothing is left out for the model itself."""

    title: str
    learnt: tuple[Annotation, ...]
    left_out: tuple[Annotation, ...]

    @property
    def is_model(self) -> bool:
        return not self.left_out


def splits(annotations: Sequence[Annotation]) -> list[Split]:
    """What is learnt in turn: first with some areas left out, which tells when to stop; then the model, of everything;
    then with the other areas left out, so that each is judged by what did not learn it."""
    whole = Split("the model, of everything", tuple(annotations), ())
    units = areas(annotations)
    if len(units) < 2:
        return [whole]
    count = min(len(units), MOST_SPLITS)
    without = []
    for k in range(count):
        out = units[k::count]
        learnt = tuple(rest for one in annotations if (rest := _less(one, out)) is not None)
        without.append(Split(f"without {k + 1} of {count}", learnt, tuple(out)))
    return [without[0], whole, *without[1:]]


def areas(annotations: Sequence[Annotation]) -> list[Annotation]:
    """What can be left out one at a time: images if there are enough of them, else the separate checked areas."""
    if len(annotations) >= LEAST_IMAGES:
        return list(annotations)
    found = []
    for one in annotations:
        pieces = connected(one.checked, connectivity=1)
        each = (replace(one, checked=pieces == k) for k in range(1, pieces.max() + 1))
        found += [piece for piece in each if piece.crystals]
    return found if len(found) > len(annotations) else list(annotations)


def _less(one: Annotation, out: Sequence[Annotation]) -> Annotation | None:
    """An annotation without the areas left out of its image; None if nothing is left."""
    same = [other.checked for other in out if other.micrograph is one.micrograph]
    if not same:
        return one
    rest = replace(one, checked=one.checked & ~np.logical_or.reduce(same))
    return rest if rest.checked.any() and rest.crystals else None


def learning_curve(folder: Path, number: int) -> pd.DataFrame:
    """What was seen of a split so far, a row a look, without what was computed again after an interruption."""
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
