"""Models as single files for sharing: safetensors with the weights and everything on record about them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.micrographs.names import natural
from crystalseg.networks.weights import (
    Card,
    WeightsError,
    load_cellpose_file,
    save_weights,
    weights_in,
    with_note,
    without_note,
)
from crystalseg.record import store, validations
from crystalseg.record.models import Model, ModelError, check_name, models, register, scored
from crystalseg.segmentation.methods import FLOW_NETWORKS
from crystalseg.segmentation.models import Models, Taught, with_taught

NOTE = "model"  # key in the file's header, beside the card


@dataclass(frozen=True)
class Exchange:
    """The models given to a folder and taken from it. `refused` has a sentence for each file or model that failed."""

    given: Sequence[Model]
    taken: Sequence[Model]
    refused: Sequence[str]

    @property
    def words(self) -> str:
        """One sentence or two on what was done."""
        parts = [
            f"{what}: {', '.join(model.reference for model in some)}."
            for what, some in (("Taken", self.taken), ("Given", self.given))
            if some
        ]
        return " ".join(parts) or "Nothing new on either side."


def exchange(engine: Engine, folder: Path, who: str = "") -> Exchange:
    """Take the models that other machines put into a folder, and put those in use here into it. A model that one side
    already has is not copied again. Raises ModelError if there is no such folder, and OSError if it cannot be written
    to."""
    if not folder.is_dir():
        raise ModelError(f"There is no folder {folder}. Make it first, in a place that every machine can reach.")
    known = {_file_name(model) for model in models(engine, retired=True)}
    taken, refused = [], []
    for file in sorted(folder.glob("*.safetensors"), key=natural):
        if file.name in known:
            continue
        try:
            model = imported(engine, file.read_bytes(), file.name, who=who)
        except UserError as error:
            refused.append(str(error))
        else:
            if _file_name(model) not in known:
                taken.append(model)
    given = []
    for model in models(engine):
        file = folder / _file_name(model)
        if file.exists():
            continue
        try:
            store.write_safely(file, exported(model))
        except UserError as error:
            refused.append(str(error))
        else:
            given.append(model)
    return Exchange(given, taken, refused)


def _file_name(model: Model) -> str:
    """Return a file name that differs for different weights of the same name, and changes once they are validated."""
    scores = json.dumps(model.scores, sort_keys=True)
    return f"{model.name}-{store.digest(model.weights, scores)}.safetensors"


def exported(model: Model) -> bytes:
    """Return the model as one file that `imported` reads. Raises StoreError if its weights are missing."""
    return with_note(store.get(model.weights), NOTE, json.dumps(asdict(model)))


def imported(engine: Engine, data: bytes, file_name: str, name: str = "", who: str = "") -> Model:
    """Put a model from a file on record, and return it. A model that is already on record is returned as it is.

    The file is one that `exported` wrote, which includes what was known of the model, or a Cellpose 2 or 3 model file,
    which is read without executing code. `name` is its name here; by default it keeps its own, or gets that of the
    file. Raises ModelError or WeightsError, which says why it cannot be used.
    """
    if data[8:9] == b"{":
        return _from_export(engine, data, file_name, name, who)
    part = store.home() / f".import-{store.digest(data)}"
    try:
        part.write_bytes(data)
        state = load_cellpose_file(part)
        today = store.now()[:10]
        own = check_name(name or Path(file_name).stem[:40])
        save_weights(part, state, Card("cellpose", own, f"file {file_name}", "", today), exact=True)
        weights = store.put_file(part)
    except WeightsError as error:
        raise WeightsError(str(error).replace(str(part), file_name)) from error
    finally:
        part.unlink(missing_ok=True)
    return _kept(engine, Model(own, 0, "cellpose", "", weights, origin=f"Cellpose model file {file_name}"), who)


def _from_export(engine: Engine, data: bytes, file_name: str, name: str, who: str) -> Model:
    plain, note = without_note(data, NOTE, file_name)
    if not note:
        raise ModelError(f"{file_name} is not an exported model. Export it on the Teach page or with `models export`.")
    known = {f.name for f in fields(Model)}
    try:
        facts = {key: value for key, value in json.loads(note).items() if key in known}
        model = Model(**facts | {"data": tuple(facts["data"]), "curve": tuple(facts["curve"])})
    except (ValueError, TypeError, KeyError, UserError) as error:
        raise ModelError(f"The description of the model in {file_name} cannot be read. Export it again.") from error
    if model.network not in FLOW_NETWORKS:
        raise ModelError(f"The model in {file_name} must have one of the architectures {', '.join(FLOW_NETWORKS)}.")
    weights_in(plain, model.network, file_name)
    origin = f"{model.origin}; imported, originally {model.reference} by {model.who or 'somebody'}"
    model = replace(model, name=check_name(name or model.name), weights=store.put(plain), origin=origin)
    return _kept(engine, model, who)


def _kept(engine: Engine, model: Model, who: str) -> Model:
    """Put a model with its scores on record, unless it is already there, and return it."""
    _fits(model)
    there = next((m for m in models(engine, retired=True) if (m.name, m.weights) == (model.name, model.weights)), None)
    made = there or register(engine, replace(model, scores=None, retired=False), who)
    if model.scores and not made.scores:
        made = scored(engine, made, model.scores, who)
    validations.keep_model(made)
    return made


def _fits(model: Model) -> None:
    """Raise WeightsError if the architecture and the weights do not belong together."""
    taught = Taught(model.name, model.network, model.weights, store.get(model.weights))
    with_taught(Models({}, torch.device("cpu")), taught)
