"""A batch: many images with one profile, measured on Dask. It continues after any interruption.

A batch is a folder. `batch.json` holds the request. What is done is on record: each image has an id made of the batch's
id and its own number, so that nothing is done twice. `batch_run` carries it out.
"""

import functools
import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import Engine

from crystalseg.execution.batch_source import Source
from crystalseg.execution.kinds import mosaic
from crystalseg.execution.work import Kind, Work, check_same_request
from crystalseg.execution.work_state import State, WorkError, asked, order_in, state_of
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import file_stems, visible
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run

MOSAIC = ".mosaic"  # ending of the folders of mosaics


@dataclass(frozen=True)
class Batch:
    """The request of a batch.

    source: A folder or a ZIP file.
    names: The names of its images, in order. Two may be equal.
    calibration: The pixel size of all images, or None if each states its own or has none.
    operator: The person who requested it, or "".
    formats: The keys of the files to write of each image, or None for the default of batches.
    notes: What the user should know about the images that were taken from the source.
    name: What people call the batch, or "".
    sample, customer: What reports say of all images, or "".
    """

    id: str
    source: str
    names: tuple[str, ...]
    profile: Profile
    calibration: Calibration | None = None
    operator: str = ""
    formats: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    name: str = ""
    sample: str = ""
    customer: str = ""

    @property
    def title(self) -> str:
        """What it is, in words, for people."""
        return f"{self.name or self.id}: {len(self.names)} images, profile {self.profile.name}"

    def run_id(self, index: int | None = None) -> str:
        """Return the id under which an image is recorded, or without an index the prefix of all these ids."""
        return f"{self.id}-" if index is None else f"{self.id}-{index:05d}"

    def shown(self, index: int) -> str:
        """Return the image's name with only visible characters."""
        return visible(self.names[index])

    def index(self, run_id: str) -> int:
        """Return the index of the image with this id."""
        return int(run_id.removeprefix(self.run_id()))

    @functools.cached_property
    def stems(self) -> list[str]:
        """The beginnings of the names of each image's files."""
        return file_stems(self.names)

    def read(self, source: Source, index: int) -> bytes | Path:
        """Read an image, as `Source.read` returns it."""
        name = self.names[index]
        return source.read(name, self.names[:index].count(name))


def prepare(
    folder: Path,
    source: Path,
    profile: Profile,
    calibration: Calibration | None = None,
    operator: str = "",
    formats: tuple[str, ...] | None = None,
    notes: tuple[str, ...] = (),
    name: str = "",
    sample: str = "",
    customer: str = "",
) -> Batch:
    """Return the batch in `folder`, or make a new one. Raises WorkError if the existing batch has another source,
    profile or pixel size, or other `formats` than those given."""
    file = folder / "batch.json"
    if file.exists():
        batch = load(folder)
        check_same_request(folder, batch, source, profile, calibration)
        if formats not in (None, batch.formats):
            raise WorkError(f"The batch in {folder} was begun with other formats. Leave them out to go on with it.")
        return batch
    images, id = Source(source), uuid.uuid4().hex[:12]
    notes = (*notes, *images.notes)
    known = (profile, calibration, operator, formats, notes, name, sample, customer)
    batch = Batch(id, str(source.resolve()), images.names, *known)
    facts = asdict(batch) | {"profile": json.loads(profile.to_json())}
    store.write_safely(file, json.dumps(facts, indent=1).encode())
    return batch


def load(folder: Path) -> Batch:
    """Return the batch that `prepare` made in `folder`. Raises WorkError if there is none or its file is damaged."""
    return order_in(folder / "batch.json", "batch", _batch)


def _batch(facts: dict[str, Any]) -> Batch:
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    profile = Profile.from_dict(facts["profile"])
    # missing in files of earlier releases
    operator, formats, notes = facts.get("operator", ""), facts.get("formats"), tuple(facts.get("notes", ()))
    given = None if formats is None else tuple(formats)
    said = [facts.get(key, "") for key in ("name", "sample", "customer")]
    names = tuple(facts["names"])
    return Batch(facts["id"], facts["source"], names, profile, calibration, operator, given, notes, *said)


def progress_of(folder: Path, engine: Engine, ended: State | None = None) -> State:
    """Return the state of the batch in `folder`. Its files say what is under way; the record says what is done and what
    failed. The process that did the work and has finished passes its state as `ended`."""
    batch = load(folder)
    now = ended or state_of(folder)
    done, reasons = settled(engine, batch)
    finished = len(done) + len(reasons) == len(batch.names)
    failed = tuple((batch.shown(k), why) for k, why in sorted(reasons.items()))
    share = (len(done) + len(reasons)) / len(batch.names)
    if finished and not now.is_active:
        now = replace(now, status="done", stage="", error="")
    elif now.status == "waiting" and (done or reasons):  # begun by a release that wrote no state
        now = replace(now, status=asked(folder) or "paused")
    return replace(now, done=len(done), total=len(batch.names), reasons=failed, share=max(share, now.share))


def mosaic_folder(folder: Path, batch: Batch, index: int) -> Path:
    """Return the folder of a mosaic among the images while it is measured."""
    return folder / f"{batch.stems[index]}{MOSAIC}"


def settled(engine: Engine, batch: Batch) -> tuple[set[int], dict[int, str]]:
    """Return the indices of the images on record, and the reasons of those that failed, by index."""
    done = {batch.index(subject) for subject in ledger.subjects(engine, "run", batch.run_id())}
    failed = ledger.entries(engine, "failure", prefix=batch.run_id())
    return done, {batch.index(entry.subject): entry.body["reason"] for entry in failed}


def runs_of(engine: Engine, batch: Batch) -> list[Run]:
    """Return the runs of the measured images, in order."""
    entries = ledger.entries(engine, "run", prefix=batch.run_id())
    return [Run.from_dict(entry.body) for entry in sorted(entries, key=lambda entry: entry.subject)]


class BatchKind(Kind):
    """Many images with one profile."""

    name = "batch"
    place = "batches"
    files: ClassVar[tuple[str, ...]] = ("batch.json",)

    def asked(self, folder: Path) -> Batch:
        return load(folder)

    def carry_out(
        self, work: Work, engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        from crystalseg.execution import batch_run  # loads torch, which pages that only show results do not need

        batch_run.run(work.folder, engine, workers, scheduler, say)

    def state(self, work: Work, engine: Engine) -> State:
        return progress_of(work.folder, engine)

    def runs(self, work: Work, engine: Engine) -> list[Run]:
        return runs_of(engine, work.asked)

    def results(self, work: Work, run: Run) -> Path:
        return work.folder / work.asked.stems[work.asked.index(run.id)]

    def copies(self, work: Work) -> list[Path]:
        places = (place for place in work.folder.glob(f"*{MOSAIC}") if mosaic.KIND.is_in(place))
        inner = (Work(mosaic.KIND, place, mosaic.load(place)) for place in places)
        return [*super().copies(work), *(file for each in inner for file in each.kind.copies(each))]


KIND = BatchKind()
