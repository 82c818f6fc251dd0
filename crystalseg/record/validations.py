"""The measured errors of methods on labelled images, by kind of material. They are kept in files and looked up here."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.uncertainty import LEAST_IMAGES, Validation
from crystalseg.networks import DIRECTORY
from crystalseg.record import ledger, store
from crystalseg.record.database import RecordError
from crystalseg.record.models import Model, models
from crystalseg.record.profiles import Profile
from crystalseg.record.store import home, write_safely
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.settings import Settings

SHIPPED = DIRECTORY / "validation.json"
_VALIDATE = (
    "Validate the method on labelled images: python -m crystalseg validate FOLDER --profile PROFILE --kind NAME."
)


def own() -> Path:
    """Return the path of the file with this machine's validations."""
    return home() / "validation.json"


def validations() -> list[Validation]:
    """Return all validations. One measured on this machine takes precedence over a shipped one. Raises RecordError if a
    file is damaged."""
    by_subject: dict[tuple[str, str], Validation] = {}
    for entry in (*_read(own()), *_read(SHIPPED)):
        errors = {key: [v for v in values if v is not None] for key, values in entry["errors"].items()}
        key = canonical(entry["conditions"]) if "conditions" in entry else ""
        conditions, weights = Conditions(key, entry.get("thresholds", "")), entry.get("weights", {})
        validation = Validation(entry["kind"], _full(entry["method"]), entry["images"], errors, conditions, weights)
        by_subject.setdefault((validation.kind, validation.method), validation)
    return list(by_subject.values())


def _read(path: Path) -> list[dict]:
    """Return the entries of a file of validations, or [] if there is no file. Raises RecordError if it is damaged."""
    try:
        entries: list[dict] = json.loads(path.read_text())
        if all({"kind", "method", "images", "errors"} <= entry.keys() for entry in entries):
            return entries
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, AttributeError):
        pass
    raise RecordError(f"{path} is damaged. Restore it from a back-up, or delete it and validate again.")


def _full(method: str) -> str:
    # Earlier files name SiMA+ without its flow network.
    return f"{method}@cellpose" if method == "sima-plus" else method


def lookup(profile: Profile | None, settings: Settings) -> Validation | None:
    """Return the validation of the settings' method on the profile's kind of material, or None.

    A taught model brings its own validation, unless the profile names another kind. None is returned without a profile
    (unless the method is a taught model), and if only some crystals count, because the errors were measured on all
    crystals. `Validation.of` tells whether it holds for the conditions and weights of a run.
    """
    if settings.measuring.only:
        return None
    if settings.model:
        kinds = {profile.kind} - {""} if profile else set()
        own_method = [v for v in validations() if v.method == settings.full_method]
        return next((v for v in own_method if not kinds or v.kind in kinds), None)
    wanted = (profile.kind, settings.full_method) if profile else None
    return next((v for v in validations() if (v.kind, v.method) == wanted), None)


def no_verdict(profile: Profile) -> str:
    """Say why no verdict on the profile's limits can be given, in a sentence that says what to do. Return "" if a
    verdict can be given, as by simple acceptance, or there are no limits."""
    settings = profile.settings
    if not profile.limits or profile.decision == "simple":
        return ""
    if settings.measuring.only:
        return "No verdict is given for a selection of crystals. Leave “Count only” empty."
    found = lookup(profile, settings)
    if found is None:
        if not profile.kind:
            return f"No verdict is given, because the profile names no kind of material. {_VALIDATE}"
        return f"No verdict is given, because {settings.full_method} was not validated on “{profile.kind}”. {_VALIDATE}"
    if found.images < LEAST_IMAGES:
        return f"No verdict is given: {found.words} only; {LEAST_IMAGES} or more images are needed. {_VALIDATE}"
    doubt = found.of(settings.conditions, found.weights).doubt
    return f"No verdict is given: {doubt} (--profile)." if doubt else ""


def keep(validation: Validation, path: Path) -> None:
    """Write a validation to a file, in place of one of the same method and kind."""
    kind, method = validation.kind, validation.method
    rest = [e for e in _read(path) if (e["kind"], _full(e["method"])) != (kind, _full(method))]
    entries = sorted([*rest, _entry(validation)], key=lambda e: (e["kind"], e["method"]))
    write_safely(path, (json.dumps(entries, indent=1) + "\n").encode())


def keep_own(engine: Engine, validation: Validation, who: str = "") -> None:
    """Put a validation on record and write it to this machine's file, from which it is used."""
    subject = store.digest(validation.kind, validation.method)
    ledger.append(engine, "validation", subject, _entry(validation), who)
    keep(validation, own())


def keep_model(model: Model) -> None:
    """Write the recorded size errors of a model, if there are any, to this machine's file, unless it has them."""
    made = model.validation
    if made is not None and (made.kind, made.method) not in {(e["kind"], e["method"]) for e in _read(own())}:
        keep(made, own())


def unrecorded(engine: Engine) -> Iterator[str]:
    """Yield a sentence for each validation in this machine's file that differs from the record, because verdicts depend
    on them."""
    try:
        kept = _read(own())
    except RecordError as error:
        yield str(error)
        return
    measured = {(e.body["kind"], e.body["method"]): e.body for e in ledger.entries(engine, "validation")}
    of_models = [_entry(made) for model in models(engine, retired=True) if (made := model.validation) is not None]
    facts = ("kind", "method", "images", "errors")
    for entry in kept:
        is_measured = entry == measured.get((entry["kind"], entry["method"]))
        if not is_measured and not any(all(entry[name] == of[name] for name in facts) for of in of_models):
            yield (
                f"The validation of {entry['method']} on {entry['kind']} in {own().name} differs from the one on "
                "record. Validate the method again."
            )


def _entry(validation: Validation) -> dict:
    errors = {key: [round(v, 5) if np.isfinite(v) else None for v in each] for key, each in validation.errors.items()}
    facts: dict = {name: getattr(validation, name) for name in ("kind", "method", "images")}
    facts["thresholds"] = validation.conditions.text
    if validation.conditions.key:
        facts["conditions"] = json.loads(validation.conditions.key)
    return facts | {"weights": dict(validation.weights), "errors": errors}
