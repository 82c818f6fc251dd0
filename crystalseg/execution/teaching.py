"""Teach a model in a folder. Teaching can be watched, paused and continued after a crash; the model is validated on
what it did not learn, and put on record."""

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine

from crystalseg.evaluation.areas import AreaScore
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.evaluation.validation import by_figure
from crystalseg.execution.cluster import connected, elsewhere, equip
from crystalseg.execution.kinds.lesson import Lesson, Split, learning_curve, load, of_others, prepare, splits
from crystalseg.execution.lesson_split import (
    Assignment,
    Learnt,
    carry_out,
    finished,
    fresh,
    in_worker,
    keep,
    labels,
    near,
)
from crystalseg.execution.work_state import Reporter, State, asked, working
from crystalseg.measurement.uncertainty import LEAST_IMAGES
from crystalseg.micrographs import examples
from crystalseg.networks.weights import Card, save_weights
from crystalseg.record import store, validations
from crystalseg.record.annotations import from_folder, read
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, find, models, register, scored, taught
from crystalseg.segmentation.models import load_models, with_taught
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.training.teaching import Recipe, learn

FORGETTING = 8  # number of drawn images, other than the rehearsed ones; FORGETTING_SIDE is their side in px
FORGETTING_SIDE = 320
FORGETTING_REAL = 4  # number of latest areas of other materials on record, beside the shipped ones
LEARNING = 0.5  # share of the minutes until the model can be used; the rest is for the judge and for scoring
LEAST_STEPS = 20
PACE_STEPS = 12


def run(
    folder: Path, engine: Engine, report: Callable[[State], None] = lambda _: None, scheduler: str | None = None
) -> Model | None:
    """Do what is left of the lesson in `folder`. Return the validated model, or None if it was stopped. Raises
    UserErrors, which say what is wrong. `scheduler` is the address of a Dask cluster whose workers learn several splits
    at once."""
    lesson = load(folder)
    model: Model | None = None
    with working(folder, report) as reporter:
        model = _Teacher(folder, lesson, engine, reporter, scheduler or None).teach()
        if model is None:
            raise Cancelled
        for checkpoint in (*folder.rglob("*.pt"), *folder.glob("*.safetensors")):
            checkpoint.unlink()  # the curves stay, for display
    return model


class _Teacher:
    """Carry out one lesson."""

    def __init__(self, folder: Path, lesson: Lesson, engine: Engine, reporter: Reporter, scheduler: str | None) -> None:
        self.folder, self.lesson, self.engine, self.reporter = folder, lesson, engine, reporter
        self.settings = Settings(network=lesson.network)
        if lesson.parent:
            self.settings = Settings(network=find(engine, lesson.parent).setting)
        self.parent = with_taught(load_models(), taught(engine, self.settings))
        self.annotations = lesson.read()
        self.splits = splits(self.annotations)
        self.rehearsed = tuple(lesson.read_rehearsed())
        self.scheduler = scheduler

    def teach(self) -> Model | None:
        """Do all that is left. Return the model, or None if it was stopped."""
        self._measure_pace()
        model: Model | None = None
        for number, split in enumerate(self.splits):
            if number == 1:
                self._learn_elsewhere(range(1, len(self.splits)))
            learnt = self._learn(number, split)
            if learnt is None:
                return None
            if split.is_model:
                model = self._registered(learnt, number)
                self.reporter(made=model.reference)
            if asked(self.folder):
                return None
        assert model is not None
        return self._validated(model)

    def _measure_pace(self) -> None:
        """Measure how many steps fit into the minutes. The number is saved, so that a continued lesson takes as
        many."""
        if self.lesson.steps:
            return
        self.reporter(stage="measuring the speed of this machine")
        trial, marks = self.folder / "pace", []
        shutil.rmtree(trial, ignore_errors=True)

        def mark(_: int) -> bool:
            marks.append(time.monotonic())
            return True

        learn(
            fresh(self.parent, self.lesson.network),
            self.annotations,
            (),
            Recipe(self.lesson.network, steps=PACE_STEPS, every=100),
            trial,
            go_on=mark,
        )
        pace = float(np.quantile(np.diff(marks), 0.25))  # the first steps and disturbed ones are slower
        learning = 1 if len(self.splits) == 1 else 2
        steps = max(LEAST_STEPS, int(60 * self.lesson.minutes * LEARNING / learning / pace))
        self.lesson = replace(self.lesson, steps=steps, every=max(5, steps // 8))
        self.lesson.save(self.folder)

    def _steps(self, number: int) -> int:
        """Return the number of steps of a split. The first split determines that of the others."""
        first = finished(self._place(0)) if number else None
        return max(LEAST_STEPS, first.step) if first else self.lesson.steps

    def _place(self, number: int) -> Path:
        return self.folder / f"part-{number}"

    def _assignment(self, number: int) -> Assignment:
        recipe = Recipe(self.lesson.network, steps=self._steps(number), every=self.lesson.every)
        return Assignment(self.splits[number], recipe, self.settings, self.rehearsed)

    def _tell(self, number: int, stage: str, step: int, left: float = float("nan")) -> None:
        """Report that this many steps of a split are learnt."""
        count, steps = len(self.splits), max(1, self._steps(number))
        self.reporter(done=number, total=count, stage=stage, share=min(1.0, (number + step / steps) / count), left=left)

    def _learn(self, number: int, split: Split) -> Learnt | None:
        """Learn a split, here or in a worker of the cluster."""
        assignment = self._assignment(number)
        steps = assignment.recipe.steps
        self._tell(number, split.title, 0)
        if self.scheduler:
            self._learn_elsewhere([number])
            return finished(self._place(number))
        began, first = time.monotonic(), [0]
        later = sum(self._steps(k) for k in range(number + 1, len(self.splits)))

        def go_on(step: int) -> bool:
            first[0] = first[0] or step
            pace = (time.monotonic() - began) / max(1, step - first[0] + 1)
            self._tell(number, split.title, step, pace * (steps - step + later))
            return not asked(self.folder)

        def looking() -> None:
            self.reporter(stage=f"{split.title}: evaluating")

        return carry_out(assignment, self.parent, self._place(number), go_on, looking)

    def _learn_elsewhere(self, numbers: Sequence[int]) -> None:
        """Learn these splits at the same time in workers of the cluster, if there is one. Finished splits are kept; a
        requested pause abandons those under way."""
        todo = [k for k in numbers if self.scheduler and finished(self._place(k)) is None]
        if not todo:
            return

        def watch(progress: Progress) -> None:
            self.reporter.check()
            self._tell(numbers[0], self.reporter.state.stage, progress.done)

        with connected(0, self.scheduler) as client:
            key = equip(client, taught(self.engine, self.settings))

            def one(number: int) -> None:
                keep(elsewhere(client, in_worker, (self._assignment(number), key), watch), self._place(number))

            with ThreadPoolExecutor(len(todo)) as pool, suppress(Cancelled):
                list(pool.map(one, todo))

    def _registered(self, learnt: Learnt, number: int) -> Model:
        """Put the model on record, unless it is already there because the lesson was interrupted just after."""
        lesson, file = self.lesson, self.folder / "model.safetensors"
        data = f"{len(lesson.annotations)} labelled images of {lesson.material}"
        card = Card(lesson.network, lesson.name, data, f"{learnt.step} steps", lesson.created[:10])
        save_weights(file, learnt.weights, card)
        sha256 = store.put_file(file)
        known = next((m for m in models(self.engine) if (m.name, m.weights) == (lesson.name, sha256)), None)
        if known is not None:
            return known
        recipe = self._assignment(number).recipe
        shown = [0, number] if number else [0]
        rows = [row | {"part": k} for k in shown for row in learning_curve(self.folder, k).to_dict("records")]
        finite = tuple({k: v for k, v in row.items() if v == v} for row in rows)
        made = Model(
            lesson.name,
            0,
            lesson.network,
            lesson.material,
            sha256,
            lesson.parent,
            data=lesson.data,
            recipe=asdict(recipe) | {"rehearsed_data": lesson.rehearsed_data},
            curve=finite,
        )
        return register(self.engine, made, lesson.who)

    def _validated(self, model: Model) -> Model:
        """Put the scores of the model on record, and the uncertainty of its sizes if enough areas were left out."""
        if model.scores:
            validations.keep_model(model)  # the lesson was interrupted between the two writes
            return model
        self.reporter(stage="measuring what was forgotten")
        rows = [
            row for number in range(len(self.splits)) if (done := finished(self._place(number))) for row in done.scores
        ]
        after, before = ([AreaScore(**row[which]) for row in rows] for which in ("after", "before"))
        found: dict[str, Any] = {"areas": len(after), "material": self.lesson.material, **self._forgotten(model)}
        if after:
            found |= {
                "pq": float(np.mean([s.pq for s in after])),
                "pq_before": float(np.mean([s.pq for s in before])),
                "number": float(np.mean(np.abs([s.number for s in after]))),
                "rows": [{"name": s.name, "crystals": s.crystals, "pq": s.pq, "number": s.number} for s in after],
            }
        if len(after) >= LEAST_IMAGES:
            found["errors"] = by_figure([s.errors for s in after])
        model = scored(self.engine, model, _plain(found), self.lesson.who)
        validations.keep_model(model)
        return model

    def _forgotten(self, model: Model) -> dict[str, Any]:
        """Return the PQ before and after on synthetic images, and on real images of other materials that were not
        rehearsed: those shipped with the program, and those on record."""
        weights = with_taught(self.parent, taught(self.engine, Settings(network=model.setting)))
        drawn = [draw(2 * k + 1, (FORGETTING_SIDE, FORGETTING_SIDE)) for k in range(FORGETTING)]
        learnt = {files for _, files, _ in self.lesson.rehearsed}
        other = [one for one in of_others(self.engine, self.lesson.material) if one.files not in learnt]
        areas = [one for known in examples.looked_at().values() for one in known]
        areas += [read(one.name, one.files) for one in other[-FORGETTING_REAL:]]
        found: dict[str, Any] = {"real_areas": len(areas)}
        for by, suffix in ((self.parent, "_before"), (weights, "")):
            scores = [panoptic_quality(d.labels, labels(by, self.settings, d.image)) for d in drawn]
            found[f"others{suffix}"] = float(np.mean(scores))
            found[f"real{suffix}"] = float(np.mean([near(one, self.settings, by) for one in areas]))
        return found


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def teach(
    name: str, data: Path | str, material: str = "", parent: str = "", minutes: float = 10.0, operator: str = ""
) -> Model:
    """Teach a model of that `name` the labelled images of a folder (`read_annotations`), and put it on record.

    `material` is what the images show, by default the name. `parent` is the `NAME` or `NAME:VERSION` to begin from, by
    default the shipped weights. `minutes` is the time until the model can be used; validation takes about as long
    again. `operator` is for the record. Raises UserErrors, which say what is wrong.
    """
    engine = open_database()
    kept = from_folder(engine, Path(data), material or name, operator)
    model = run(prepare(engine, name, material or name, kept, parent, minutes, operator), engine)
    assert model is not None  # nobody requested a pause
    return model
