"""Models on record, by name and version: flow networks that were taught a material or brought by a user.

Their weights are in the store. A version never changes: further teaching makes the next version, and a retired version
still recomputes the runs that were made with it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.measurement.uncertainty import LEAST_IMAGES, Validation
from crystalseg.record import ledger, store
from crystalseg.segmentation.methods import FLOW_NETWORKS
from crystalseg.segmentation.settings import MODEL_NAME, Settings

if TYPE_CHECKING:
    from crystalseg.segmentation.models import Taught


FORGOTTEN = 0.02  # loss of PQ on other materials above which the verdict mentions it


class ModelError(UserError):
    """A model is missing or cannot be used. The message is one sentence for the user."""


@dataclass(frozen=True)
class Model:
    """A version of a model.

    version: 1, 2, …
    network: Its architecture, one of methods.FLOW_NETWORKS.
    material: The material that it was taught.
    weights: The SHA-256 of its weights file in the store.
    parent: The `NAME:VERSION` that teaching began from, "" for the shipped weights.
    origin: How the model came here, in words.
    data: The SHA-256 of each annotation that it learnt.
    recipe: How it learnt.
    curve: What was seen while it learnt, one dict per evaluation.
    scores: Its scores on areas left out (see `scored`), None if it was not validated.
    who, created: Who put it on record, and when.
    retired: Whether it is withdrawn from use.
    """

    name: str
    version: int
    network: str
    material: str
    weights: str
    parent: str = ""
    origin: str = "taught"
    data: tuple[str, ...] = ()
    recipe: dict = field(default_factory=dict)
    curve: tuple[dict, ...] = ()
    scores: dict | None = None
    who: str = ""
    created: str = ""
    retired: bool = False

    @property
    def reference(self) -> str:
        """The name that people and reports use, `NAME:VERSION`."""
        return f"{self.name}:{self.version}"

    @property
    def setting(self) -> str:
        """The value of `Settings.network` that selects this model."""
        return f"{self.network}:{self.reference}"

    @property
    def validation(self) -> Validation | None:
        """The size errors on areas that the model did not learn, or None if they were not measured."""
        if not self.scores or not self.scores.get("errors"):
            return None
        usual = Settings(network=self.setting)
        # None stands for a figure that could not be measured on an area.
        errors = {key: [v for v in each if v is not None] for key, each in self.scores["errors"].items()}
        return Validation(self.material, usual.full_method, self.scores["areas"], errors, usual.conditions)

    @property
    def words(self) -> str:
        """How well it scored, for a list."""
        if not self.scores or not self.scores["areas"]:
            return "not validated"
        areas = self.scores["areas"]
        return f"PQ {self.scores['pq']:.2f} on {areas} area{'s' if areas != 1 else ''} it did not learn"

    def rows(self) -> list[tuple[str, str]]:
        """Return everything that is known of the model except its curve, as rows."""
        rows = [
            ("model", self.reference + (", retired" if self.retired else "")),
            ("material", self.material or "any"),
            ("verdict", self.verdict),
            ("origin", self.origin),
            ("started from", self.parent or "the shipped weights"),
            ("architecture", self.network),
            ("SHA-256 of weights", self.weights),
            ("made by", self.who or "not named"),
            ("made on", self.created[:19] + " UTC"),
            ("taught with", ", ".join(self.data) or "nothing on record here"),
            ("recipe", json.dumps(self.recipe)),
        ]
        scores = self.scores or {}
        if scores.get("number") is not None:
            rows.append(("mean error of the number of crystals", f"{100 * scores['number']:.1f} %"))
        mean = [error for error in (scores.get("errors") or {}).get("mean", ()) if error is not None]
        if mean:
            each = ", ".join(f"{100 * error:+.1f}" for error in mean)
            rows.append(("error of the average crystal size on each area", f"{each} %"))
        others = ("others", "on synthetic images"), ("real", f"on {scores.get('real_areas')} areas of other materials")
        for key, where in others:
            if scores.get(key) is not None:
                rows.append((f"PQ {where}", f"{scores[key]:.3f}, {scores[f'{key}_before']:.3f} before"))
        return rows

    @property
    def verdict(self) -> str:
        """What can be said of the model, in a sentence or two."""
        if self.scores is None:
            return "Not validated yet."
        areas = self.scores["areas"]
        lost = max(self.scores[f"{key}_before"] - self.scores[key] for key in ("others", "real") if key in self.scores)
        if areas:
            of = f"{areas} area{'s' if areas != 1 else ''} it did not learn"
            words = f"PQ {self.scores['pq']:.2f} on {of}, {self.scores['pq_before']:.2f} before the lesson."
        else:
            words = "Not validated, because no area could be left out. Check two more areas."
        if areas < LEAST_IMAGES:
            words += f" A verdict needs {LEAST_IMAGES} or more such areas."
        if lost > FORGOTTEN:
            words += f" It lost {100 * lost:.0f} points of PQ on other materials. Use it for its own material only."
        return words


def check_name(name: str) -> str:
    """Return the name if a model can have it. Raises ModelError if not."""
    if not re.fullmatch(MODEL_NAME, name):
        raise ModelError(
            "A model's name must have 1 to 40 letters, digits, spaces, dots or dashes, and begin with a letter or "
            "digit."
        )
    return name


def register(engine: Engine, model: Model, who: str = "") -> Model:
    """Put a model on record as the next version of its name, and return it. Its weights must be in the store."""
    check_name(model.name)
    if model.network not in FLOW_NETWORKS:
        known = ", ".join(FLOW_NETWORKS)
        raise ModelError(f"The architecture of a model must be one of {known}, not '{model.network}'.")
    derived = ("version", "weights", "who", "created", "retired")
    facts = {key: value for key, value in asdict(model).items() if key not in derived}
    body = json.loads(json.dumps(facts | {"files": {"weights": model.weights}}))  # in the form that an entry returns
    while True:
        version = 1 + max((m.version for m in _all(engine) if m.name == model.name), default=0)
        entry = ledger.append(engine, "model", f"{model.name}:{version}", body, who, once=True)
        if entry.body == body:  # if not, another model took this version meanwhile
            return _model(entry)


def _model(entry: ledger.Entry) -> Model:
    known = {f.name for f in fields(Model)}
    facts: dict[str, Any] = {key: value for key, value in entry.body.items() if key in known}
    facts |= {"data": tuple(facts.get("data", ())), "curve": tuple(facts.get("curve", ()))}
    version = int(entry.subject.rpartition(":")[2])
    weights = ledger.files_in(entry.body)["weights"]
    return Model(**facts, version=version, weights=weights, who=entry.who, created=entry.created)


def _all(engine: Engine) -> list[Model]:
    """Return every version in its current state, oldest first."""
    scores = {e.subject: e.body for e in ledger.entries(engine, "scores")}
    retired = {e.subject: e.body["retired"] for e in ledger.entries(engine, "retirement")}
    found = []
    for entry in ledger.entries(engine, "model"):
        made = _model(entry)
        changes: dict[str, Any] = {"retired": retired.get(made.reference, False)}
        if made.reference in scores:
            changes["scores"] = scores[made.reference]
        found.append(replace(made, **changes))
    return found


def models(engine: Engine, retired: bool = False) -> list[Model]:
    """Return the models in use, newest first. With `retired`, include retired ones."""
    return [m for m in reversed(_all(engine)) if retired or not m.retired]


def find(engine: Engine, reference: str) -> Model:
    """Return the model `NAME:VERSION`, even if it is retired, or the latest version of `NAME` in use. Raises
    ModelError, which lists the existing models."""
    name, _, version = reference.partition(":")
    every = _all(engine)
    if version:
        found = [m for m in every if m.reference == reference]
    else:
        found = [m for m in every if m.name == name and not m.retired]
    if not found:
        there = ", ".join(m.reference for m in every if not m.retired) or "none"
        raise ModelError(f"There is no model '{reference}'. Models on record: {there}.")
    return found[-1]


def scored(engine: Engine, model: Model, scores: Mapping[str, Any], who: str = "") -> Model:
    """Put the scores of a model on areas that it did not learn on record: `pq`, the number of `areas`, the `errors` of
    each size figure as in a Validation, and other measurements."""
    ledger.append(engine, "scores", model.reference, json.loads(json.dumps(dict(scores))), who)
    return find(engine, model.reference)


def retire(engine: Engine, reference: str, who: str = "", again: bool = False) -> Model:
    """Withdraw a version from use, or with `again` put it back in use. Runs that were made with it can still be
    recomputed."""
    model = find(engine, reference)
    ledger.append(engine, "retirement", model.reference, {"retired": not again}, who)
    return find(engine, model.reference)


def taught(engine: Engine, settings: Settings) -> "Taught | None":
    """Return the model that a run with these settings needs, with its weights, or None if it needs only the shipped
    weights. Raises ModelError or StoreError if the model or its weights are missing."""
    from crystalseg.segmentation.models import Taught

    if not settings.model:
        return None
    model = find(engine, settings.model)
    if model.network != settings.architecture:
        raise ModelError(f"Model {model.reference} has the architecture {model.network}, not {settings.architecture}.")
    return Taught(model.reference, model.network, model.weights, store.get(model.weights))
