"""A model is taught in a folder: watched, paused, gone on with after a crash, validated by what it did not learn, and
put on record."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine
from torch import Tensor, nn

from crystalseg.evaluation.areas import AreaScore, area_score
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.evaluation.validation import by_figure
from crystalseg.execution.failure import failure
from crystalseg.execution.lesson import Lesson, Part, load, parts, prepare
from crystalseg.execution.lesson_state import State, Told, learning_curve
from crystalseg.execution.work_folder import asked, locked
from crystalseg.measurement.uncertainty import LEAST_IMAGES
from crystalseg.micrographs.annotations import Annotation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.weights import Card, save_weights
from crystalseg.record import store, validations
from crystalseg.record.annotations import from_folder
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, find, models, register, scored, taught
from crystalseg.segmentation.models import Models, load_models, with_network, with_taught
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.training.teaching import Recipe, begin, learn

FORGETTING = 8  # drawn images, other than those that are rehearsed, of this side, px
FORGETTING_SIDE = 320
LEARNING = 0.75  # of the minutes until the model can be used; the rest is for looking
LEAST_STEPS = 20
PACE_STEPS = 6


def run(folder: Path, engine: Engine, report: Callable[[State], None] = lambda _: None) -> Model | None:
    """Do what is left of the lesson in `folder`; the model, validated, or None if a pause was asked for. ValueErrors
    say what is wrong."""
    lesson = load(folder)
    with locked(folder):
        told = Told(folder, report)
        try:
            model = _Teacher(folder, lesson, engine, told).teach()
        except KeyboardInterrupt:
            model = None
        except Exception as error:
            told(status="failed", error=failure(error))
            raise
        told(status="done" if model else "paused", left=0.0)
        return model


class _Teacher:
    """Gives one lesson."""

    def __init__(self, folder: Path, lesson: Lesson, engine: Engine, told: Told) -> None:
        self.folder, self.lesson, self.engine, self.told = folder, lesson, engine, told
        self.settings = Settings(network=lesson.network)
        if lesson.parent:
            self.settings = Settings(network=find(engine, lesson.parent).setting)
        self.parent = with_taught(load_models(), taught(engine, self.settings))
        self.annotations = lesson.read()
        self.parts = parts(self.annotations)
        self.began, self.done_before = time.monotonic(), 0.0

    def teach(self) -> Model | None:
        """All that is left to do."""
        self._measure_pace()
        model: Model | None = None
        for number, part in enumerate(self.parts):
            self.told(part=number, parts=len(self.parts), title=part.title, step=0, steps=self._steps(number))
            learnt = self._learn(number, part)
            if learnt is None:
                return None
            if part.is_model:
                model = self._registered(*learnt, number)
                self.told(model=model.reference)
            else:
                self._look(number, part, learnt[0])
            if asked(self.folder):
                return None
        assert model is not None
        return self._validated(model)

    def _network(self, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
        """The parent, or with other weights, to be taught or looked through."""
        own = self.parent[self.lesson.network].state_dict()
        return begin(self.lesson.network, weights or {k: v.cpu() for k, v in own.items()})

    def _seen_by(self, network: nn.Module) -> Models:
        ready = network.eval().to(self.parent.device)
        return with_network(self.parent, self.lesson.network, ready)

    def _labels(self, models: Models, pixels: np.ndarray) -> np.ndarray:
        return segment(Micrograph(pixels, "", ""), self.settings, models).labels

    def _measure_pace(self) -> None:
        """How many steps fit the minutes: once, so that a lesson which goes on takes as many."""
        if self.lesson.steps:
            return
        self.told(title="seeing how fast this machine is")
        trial, marks = self.folder / "pace", []

        def mark(_: int) -> bool:
            marks.append(time.monotonic())
            return True

        learn(
            self._network(),
            self.annotations,
            (),
            Recipe(self.lesson.network, steps=PACE_STEPS, every=100),
            trial,
            go_on=mark,
        )
        pace = float(np.median(np.diff(marks)))
        learning = 1 if len(self.parts) == 1 else 2
        steps = max(LEAST_STEPS, int(60 * self.lesson.minutes * LEARNING / learning / pace))
        self.lesson = replace(self.lesson, steps=steps, every=max(5, steps // 8))
        self.lesson.save(self.folder)

    def _steps(self, number: int) -> int:
        """Of a part: the first tells the others when to stop."""
        first = self.folder / "part-0" / "best.json"
        if number and first.exists():
            return max(LEAST_STEPS, int(json.loads(first.read_text())["step"]))
        return self.lesson.steps

    def _learn(self, number: int, part: Part) -> tuple[dict[str, Tensor], int] | None:
        place = self.folder / f"part-{number}"
        steps = self._steps(number)
        recipe = Recipe(self.lesson.network, steps=steps, every=self.lesson.every)
        began, first = time.monotonic(), [0]

        def go_on(step: int) -> bool:
            first[0] = first[0] or step
            pace = (time.monotonic() - began) / max(1, step - first[0] + 1)
            left = pace * (steps - step + sum(self._steps(k) for k in range(number + 1, len(self.parts))))
            self.told(step=step, left=left)
            return not asked(self.folder)

        def score(network: nn.Module) -> dict[str, float]:
            looked = self._seen_by(network)
            return {"pq": float(np.mean([_near(one, looked, self._labels) for one in part.left_out[:3]]))}

        looks = score if part.left_out else (lambda _: {})
        learnt = learn(self._network(), part.learnt, part.left_out, recipe, place, looks, go_on)
        if learnt is not None:
            store.write_safely(place / "best.json", json.dumps({"step": learnt[1]}).encode())
        return learnt

    def _registered(self, weights: Mapping[str, Tensor], step: int, number: int) -> Model:
        """The model on record; the one that is there already if this was interrupted just after."""
        lesson, file = self.lesson, self.folder / "model.safetensors"
        data = f"{len(lesson.annotations)} labelled images of {lesson.material}"
        card = Card(lesson.network, lesson.name, data, f"{step} steps", lesson.created[:10])
        save_weights(file, weights, card)
        sha256 = store.put_file(file)
        known = next((m for m in models(self.engine) if (m.name, m.weights) == (lesson.name, sha256)), None)
        if known is not None:
            return known
        recipe = Recipe(lesson.network, steps=self._steps(number), every=lesson.every)
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
            recipe=asdict(recipe),
            curve=finite,
        )
        return register(self.engine, made, lesson.who)

    def _look(self, number: int, part: Part, weights: Mapping[str, Tensor]) -> None:
        """Score what a part left out, by what it learnt and by the parent."""
        file = self.folder / f"part-{number}" / "scores.json"
        if file.exists():
            return
        self.told(title=f"{part.title}: looking")
        after, rule = self._seen_by(self._network(weights)), self.settings.measuring.border_rule
        rows = []
        for one in part.left_out:
            pixels = one.micrograph.pixels
            each = [asdict(area_score(one, self._labels(by, pixels), rule)) for by in (after, self.parent)]
            rows.append(dict(zip(("after", "before"), each, strict=True)))
        store.write_safely(file, json.dumps(rows).encode())

    def _validated(self, model: Model) -> Model:
        """The model with what was seen of it on record, and the uncertainty of its sizes if enough was left out."""
        if model.scores:
            return model
        self.told(title="seeing what was forgotten")
        rows = []
        for file in sorted(self.folder.glob("part-*/scores.json")):
            rows += json.loads(file.read_text())
        after, before = ([AreaScore(**row[which]) for row in rows] for which in ("after", "before"))
        weights = with_taught(self.parent, taught(self.engine, Settings(network=model.setting)))
        drawn = [draw(2 * k + 1, (FORGETTING_SIDE, FORGETTING_SIDE)) for k in range(FORGETTING)]
        kept = [
            float(np.mean([panoptic_quality(d.labels, self._labels(by, d.image)) for d in drawn]))
            for by in (self.parent, weights)
        ]
        found: dict[str, Any] = {
            "areas": len(after),
            "material": self.lesson.material,
            "others_before": kept[0],
            "others": kept[1],
        }
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
        if model.validation is not None:
            validations.keep(model.validation, validations.own())
        return model


def _plain(value: Any) -> Any:
    """JSON has no NaN: None stands for it."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _near(one: Annotation, models: Models, labels: Callable[[Models, np.ndarray], np.ndarray]) -> float:
    """PQ in a checked area, of the image about it: quicker than all of it."""
    rows, columns = (np.flatnonzero(one.checked.any(axis=axis)) for axis in (1, 0))
    margin = 64
    cut = tuple(slice(max(0, int(at[0]) - margin), int(at[-1]) + margin + 1) for at in (rows, columns))
    part = replace(one, labels=one.labels[cut], checked=one.checked[cut])
    return area_score(part, labels(models, one.micrograph.pixels[cut]), "exclude").pq


def teach(
    name: str, data: Path | str, material: str = "", parent: str = "", minutes: float = 10.0, operator: str = ""
) -> Model:
    """Teach a model of that `name` the labelled images of a folder (`read_annotations`) and put it on record.

    material: what they are of, the name if not given; parent: `NAME` or `NAME:VERSION` to begin from, else the shipped
    weights; minutes: until it can be used, of about as many again until it is validated; operator: for the record.
    ValueErrors say what is wrong.
    """
    engine = open_database()
    kept = from_folder(engine, Path(data), material or name, operator)
    model = run(prepare(engine, name, material or name, kept, parent, minutes, operator), engine)
    assert model is not None  # nobody asked for a pause
    return model
