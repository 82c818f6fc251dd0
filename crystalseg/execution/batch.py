"""Many images with one profile: a queue on Dask that goes on where it stopped, whatever stopped it.

A batch is a folder. `batch.json` says what is to be done; what was done is on record, each image under an id made of
the batch's and its own, so that nothing is done twice. Workers only compute; one process writes files and record.
"""

import functools
import json
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Engine

from crystalseg.execution import mosaic
from crystalseg.execution.batch_source import BatchError, Source
from crystalseg.execution.work_folder import asked, is_locked
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import file_stems, visible
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile

MOSAIC = ".mosaic"  # endings of the folders of mosaics


@dataclass(frozen=True)
class Batch:
    """id; source: folder or ZIP file; names: of the images in it, in order, where two may share one; profile;
    calibration: of all images, or None if each states its own or has none; operator: who asked for it, or "";
    formats: keys of what is written of each image, or None for what batches write by default."""

    id: str
    source: str
    names: tuple[str, ...]
    profile: Profile
    calibration: Calibration | None = None
    operator: str = ""
    formats: tuple[str, ...] | None = None

    def run_id(self, index: int | None = None) -> str:
        """The id under which an image is recorded; without an index, what all of them begin with."""
        return f"{self.id}-" if index is None else f"{self.id}-{index:05d}"

    def shown(self, index: int) -> str:
        """The image's name as it can be written everywhere."""
        return visible(self.names[index])

    def index(self, run_id: str) -> int:
        """The image that has this id."""
        return int(run_id.removeprefix(self.run_id()))

    @functools.cached_property
    def stems(self) -> list[str]:
        """What the names of each image's files begin with."""
        return file_stems(self.names)

    def read(self, source: Source, index: int) -> bytes | Path:
        """An image, as `Source.read` gives it."""
        name = self.names[index]
        return source.read(name, self.names[:index].count(name))


@dataclass(frozen=True)
class State:
    """How far a batch is. state: running, paused, cancelled or done; reasons: name and reason of each image that
    failed; mosaic: how far the one is that is under way, or why it stopped, or ""."""

    total: int
    done: int
    reasons: tuple[tuple[str, str], ...]
    state: str
    mosaic: str = ""


def prepare(
    folder: Path,
    source: Path,
    profile: Profile,
    calibration: Calibration | None = None,
    operator: str = "",
    formats: tuple[str, ...] | None = None,
) -> Batch:
    """The batch in `folder`: the one that is there already, or a new one. BatchError if that is of something else, or
    writes other `formats` than those that are given."""
    file = folder / "batch.json"
    if file.exists():
        batch = load(folder)
        if (batch.source, batch.profile, batch.calibration) != (str(source.resolve()), profile, calibration):
            raise BatchError(
                f"{folder} holds another batch, of {batch.source}, or of another profile or pixel size: choose another."
            )
        if formats not in (None, batch.formats):
            raise BatchError(f"The batch in {folder} was begun with other formats: leave them out, or choose another.")
        return batch
    names = Source(source).names
    batch = Batch(uuid.uuid4().hex[:12], str(source.resolve()), names, profile, calibration, operator, formats)
    facts = asdict(batch) | {"profile": json.loads(profile.to_json())}
    store.write_safely(file, json.dumps(facts, indent=1).encode())
    return batch


def load(folder: Path) -> Batch:
    """The batch that `prepare` made in `folder`."""
    try:
        facts = json.loads((folder / "batch.json").read_text())
    except OSError as error:
        raise BatchError(f"{folder} holds no batch.") from error
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    profile = Profile.from_dict(facts["profile"])
    # not written by earlier releases
    operator, formats = facts.get("operator", ""), facts.get("formats")
    given = None if formats is None else tuple(formats)
    return Batch(facts["id"], facts["source"], tuple(facts["names"]), profile, calibration, operator, given)


def state_of(folder: Path, engine: Engine, ended: bool = False) -> State:
    """How far the batch in `folder` is, from the record; done once its last report is written, too. `ended`: for the
    process that did the work, and does no more."""
    batch = load(folder)
    running = not ended and is_locked(folder)
    done, reasons = settled(engine, batch)
    finished = len(done) + len(reasons) == len(batch.names)
    state = "running" if running else "done" if finished else asked(folder) or "paused"
    failed = tuple((batch.shown(k), why) for k, why in sorted(reasons.items()))
    return State(len(batch.names), len(done), failed, state, _of_mosaic(folder, batch))


def mosaic_folder(folder: Path, batch: Batch, index: int) -> Path:
    """Where a mosaic among the images lies while it is measured."""
    return folder / f"{batch.stems[index]}{MOSAIC}"


def _of_mosaic(folder: Path, batch: Batch) -> str:
    """The mosaic under way, in words."""
    for place in folder.glob(f"*{MOSAIC}/state.json"):
        now = mosaic.state_of(place.parent)
        name = batch.shown(batch.index(mosaic.load(place.parent).id))
        return f"{name}: {now.error or f'{100 * now.share:.0f} %, {now.stage}'}"
    return ""


def settled(engine: Engine, batch: Batch) -> tuple[set[int], dict[int, str]]:
    """Indices of the images on record, and of those that failed with their reasons."""
    done = {batch.index(subject) for subject in ledger.subjects(engine, "run", batch.run_id())}
    failed = ledger.entries(engine, "failure", prefix=batch.run_id())
    return done, {batch.index(entry.subject): entry.body["reason"] for entry in failed}
