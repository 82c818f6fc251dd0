"""The record of every run: what was measured, on which file, how, and what was found (SQLite unless a URL is given)."""

import hashlib
import io
import json
import os
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from alembic import command
from alembic.config import Config
from filelock import FileLock
from sqlalchemy import Engine, create_engine, event, inspect

from crystalseg import __version__, ledger, store
from crystalseg.calibration import Calibration
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.distribution import Summary, summarise
from crystalseg.measure.specification import Limit, Verdict, overall
from crystalseg.micrograph import Micrograph, read_micrograph
from crystalseg.settings import Settings


def software() -> dict[str, str]:
    """Versions that a figure depends on."""
    packages = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "segmentation-models-pytorch")
    return {"crystalseg": __version__, "Python": platform.python_version(), **{p: version(p) for p in packages}}


@dataclass(frozen=True)
class Run:
    """A finished run; all JSON-ready.

    image_sha256: of the file as uploaded; region: the part measured, or None; figures: the Summary as a dict, or None
    if no crystal counted; corrections: those in force, as dicts, and marks, pores and artefacts by number; files: by
    name, hashes of what is kept in the store: `image`, as uploaded, and `labels`; details: what the user said about
    the sample; verdicts: as dicts; factors: resize factors used; profile: its name; job: of the queue; both may be "".
    """

    image_name: str
    image_sha256: str
    region: tuple[int, int, int, int] | None
    um_per_px: float | None
    calibration: str | None
    settings: dict
    hashes: dict
    versions: dict
    timings: dict
    figures: dict | None
    corrections: list[dict] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    verdicts: list[dict] = field(default_factory=list)
    calibration_uncertainty: float | None = None
    factors: list[float] = field(default_factory=list)
    profile: str = ""
    job: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    created: str = field(default_factory=store.now)
    software: dict = field(default_factory=software)

    @property
    def outcome(self) -> str:
        """Of its verdicts together; "" if it was not judged."""
        return overall(self.judged) or ""

    @property
    def judged(self) -> list[Verdict]:
        """The verdicts, to work with."""
        return [Verdict(**verdict | {"limit": Limit(**verdict["limit"])}) for verdict in self.verdicts]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2)

    @staticmethod
    def from_dict(facts: Mapping) -> "Run":
        """From the record; what earlier releases did not know keeps its default."""
        known = {f.name for f in fields(Run)}
        facts = {key: value for key, value in facts.items() if key in known}
        if facts.get("region"):
            facts["region"] = tuple(facts["region"])
        return Run(**facts)


def describe(
    micrograph: Micrograph,
    segmentation,
    summary: Summary | None,
    corrections: Sequence[dict] = (),
    marks: Mapping[int, str] = {},
    **more,
) -> Run:
    """The `Run` of a Micrograph, its Segmentation, its Summary (or None) and what was corrected by hand.

    Its labels are put into the store. `more`: other fields of Run.
    """
    calibration = micrograph.calibration
    files = {"labels": store.put(labels_file(segmentation.labels, segmentation.confidence))}
    if micrograph.sha256 and store.place(micrograph.sha256).exists():
        files["image"] = micrograph.sha256
    return Run(
        image_name=micrograph.name,
        image_sha256=micrograph.sha256,
        region=micrograph.region,
        um_per_px=micrograph.um_per_px,
        calibration=calibration.source if calibration else None,
        calibration_uncertainty=calibration.uncertainty if calibration else None,
        settings=json.loads(segmentation.settings.to_json()),
        hashes=segmentation.hashes,
        versions=segmentation.versions,
        timings={stage: round(seconds, 3) for stage, seconds in segmentation.timings.items()},
        figures=asdict(summary) if summary else None,
        corrections=list(corrections),
        marks={str(number): mark for number, mark in marks.items()},
        files=files,
        factors=[float(scale.factor) for scale in segmentation.scales],
        **more,
    )


def labels_file(labels: np.ndarray, confidence: np.ndarray) -> bytes:
    """Labels int32 (H, W) and confidence float32 (n,) as one compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=labels, confidence=confidence)
    return buffer.getvalue()


def open_database(url: str | None = None) -> Engine:
    """The record's engine, at the present schema: `url`, else $CRYSTALSEG_DATABASE_URL, else SQLite under `home`."""
    url = url or os.environ.get("CRYSTALSEG_DATABASE_URL") or f"sqlite:///{store.home() / 'record.sqlite'}"
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _(connection, _record) -> None:
            # A page reads while the worker writes; what is committed survives a power cut.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA busy_timeout=10000")

    _migrate(engine)
    return engine


def _migrate(engine: Engine) -> None:
    """Bring the record to the present schema; an empty one gets its tables. App and worker may start together."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    with FileLock(store.home() / "record.lock"), engine.begin() as connection:
        config.attributes["connection"] = connection
        tables = inspect(connection).get_table_names()
        if "runs" in tables and "alembic_version" not in tables:
            command.stamp(config, "0001")  # made by the first release, which wrote no version
        command.upgrade(config, "head")


def record(engine: Engine, run: Run) -> ledger.Entry:
    """Add a run to the record, once: of a run that is there already, its entry is returned."""
    return ledger.append(engine, "run", run.id, asdict(run), run.details.get("operator", ""), once=True)


def issue(engine: Engine, runs: Sequence[str], form: str, data: bytes, who: str = "") -> bytes:
    """Put a report on record as it is handed out, its file and of which runs it is; returns `data`."""
    body = {"form": form, "runs": list(runs), "files": {f"{form} report": store.put(data)}}
    ledger.append(engine, "report", runs[0], body, who)
    return data


def issued(engine: Engine, data: bytes) -> ledger.Entry:
    """The entry of a report by its bytes; ValueError if no report on record is exactly this file."""
    sha256 = hashlib.sha256(data).hexdigest()
    found = [e for e in ledger.entries(engine, "report") if sha256 in e.body["files"].values()]
    if not found:
        raise ValueError("This file is no report on record: it was changed since, or comes from elsewhere.")
    return found[0]


def log_correction(engine: Engine, job: str, choice: str, entry: dict, who: str) -> None:
    """Add a correction (or undo, redo), made to the result of `job` with the thresholds named `choice`, to its log."""
    ledger.append(engine, "correction", job, {"choice": choice, "entry": entry}, who)


def correction_log(
    engine: Engine, job: str, choice: str | None = None, until: str | None = None
) -> list[tuple[str, dict]]:
    """The log of a job, oldest first, as (thresholds, entry); of all its thresholds unless a `choice` is named, and
    `until` a time, ISO 8601."""
    log = [e for e in ledger.entries(engine, "correction", job) if until is None or e.created <= until]
    return [(e.body["choice"], e.body["entry"]) for e in log if choice in (None, e.body["choice"])]


def recorded(engine: Engine) -> list[Run]:
    """All runs, newest first."""
    return [Run.from_dict(e.body) for e in reversed(ledger.entries(engine, "run"))]


def find(engine: Engine, run_id: str) -> Run:
    """The run of that id; ValueError if there is none."""
    found = ledger.entries(engine, "run", run_id)
    if not found:
        raise ValueError(f"The record has no run {run_id}.")
    return Run.from_dict(found[0].body)


@dataclass(frozen=True)
class Reopened:
    """A run from the record: its image as it was measured (None if its file was not kept), labels int32 (H, W),
    confidence float32 (n,), and the crystals table and summary measured again from them."""

    run: Run
    micrograph: Micrograph | None
    labels: np.ndarray
    confidence: np.ndarray
    crystals: pd.DataFrame
    summary: Summary | None


def reopen(run: Run, with_image: bool = True) -> Reopened:
    """Read a run's files and measure its labels again; StoreError if a file is missing or changed."""
    with np.load(io.BytesIO(store.get(run.files["labels"])), allow_pickle=False) as file:
        labels, confidence = file["labels"], file["confidence"]
    marks = {int(number): mark for number, mark in run.marks.items()}
    crystals = measure_crystals(labels, run.um_per_px, confidence, marks)
    settings = Settings.from_dict(run.settings)
    summary = summarise(crystals, labels.shape, settings.measuring.border_rule)
    micrograph = None
    if with_image and "image" in run.files:
        micrograph = whole_image(run)
        micrograph = micrograph.crop(*run.region) if run.region else micrograph
    return Reopened(run, micrograph, labels, confidence, crystals, summary)


def whole_image(run: Run) -> Micrograph:
    """The image as it was uploaded, with the run's pixel size; StoreError if it is not in the store."""
    if "image" not in run.files:
        raise store.StoreError(f"The image of run {run.id} was not kept: upload {run.image_name} again.")
    micrograph = read_micrograph(store.get(run.files["image"]), run.image_name, float("inf"))
    known = Calibration(run.um_per_px, run.calibration or "", run.calibration_uncertainty) if run.um_per_px else None
    return replace(micrograph, calibration=known)


def same_figures(reopened: Reopened) -> bool:
    """Whether the figures measured again are those on record, to the last digit."""
    again = asdict(reopened.summary) if reopened.summary else None
    return json.dumps(again, sort_keys=True) == json.dumps(reopened.run.figures, sort_keys=True)
