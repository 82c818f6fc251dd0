"""The record of every run: what was measured, on which file, how, and what was found."""

import hashlib
import io
import json
import platform
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from crystalseg import __version__, places
from crystalseg.errors import UserError
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.specification import Verdict, overall
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import ledger, store
from crystalseg.record.crystals import crystals_file
from crystalseg.record.reports import issue
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings

_COMMIT = places.commit()  # now, as the code is loaded: the checkout may change while this process lives


def software() -> dict[str, str]:
    """Versions that a figure depends on, with the commit of this program as `places.commit` has it."""
    packages = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "segmentation-models-pytorch")
    own = {"crystalseg": __version__, "commit": _COMMIT, "Python": platform.python_version()}
    return own | {p: version(p) for p in packages}


_OF_CALIBRATION = {"um_per_px", "calibration", "calibration_uncertainty"}  # as the record has a pixel size


@dataclass(frozen=True)
class Run:
    """A finished run, as it is on record.

    image_sha256: of the file as uploaded; region: the part measured, or None; channel: of a file with several;
    calibration: its pixel size, or None;
    settings, figures, corrections, marks and verdicts: JSON-ready, word for word as they were written, `chosen`,
    `summary`, `log`, `marked` and `judged` to work with; figures: None if no crystal counted; corrections: those in
    force; marks: pores and artefacts by number; files: by name, hashes of what is kept in the store: `image`, as
    uploaded, `labels` and `crystals`; details: what the user said about the sample; factors: resize factors used;
    profile: its name; job: of the queue; device: what the networks computed on, in words; all three may be "".
    """

    image_name: str
    image_sha256: str
    region: tuple[int, int, int, int] | None
    calibration: Calibration | None
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
    factors: list[float] = field(default_factory=list)
    profile: str = ""
    job: str = ""
    device: str = ""
    channel: int = 1
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    created: str = field(default_factory=store.now)
    software: dict = field(default_factory=software)

    @property
    def um_per_px(self) -> float | None:
        return self.calibration.um_per_px if self.calibration else None

    @property
    def chosen(self) -> Settings:
        """Its settings; SettingsError if this version does not know them."""
        return Settings.on_record(self.settings)

    @property
    def summary(self) -> Summary | None:
        """Its figures, None if no crystal counted; UserError if this version cannot read them."""
        return Summary.from_dict(self.figures) if self.figures else None

    @property
    def log(self) -> tuple[Correction, ...]:
        """The corrections in force, oldest first."""
        return tuple(map(Correction.from_dict, self.corrections))

    @property
    def marked(self) -> dict[int, str]:
        """Pores and artefacts by number."""
        return {int(number): mark for number, mark in self.marks.items()}

    @property
    def outcome(self) -> str:
        """Of its verdicts together; "" if it was not judged."""
        return overall(self.judged) or ""

    @property
    def judged(self) -> list[Verdict]:
        """The verdicts."""
        return [Verdict.from_dict(verdict) for verdict in self.verdicts]

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_dict(self) -> dict[str, Any]:
        """For the record, JSON-ready."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "calibration"}
        stated = self.calibration
        return facts | {
            "um_per_px": self.um_per_px,
            "calibration": stated.source if stated else None,
            "calibration_uncertainty": stated.uncertainty if stated else None,
        }

    @staticmethod
    def from_dict(facts: Mapping) -> "Run":
        """From the record; what was not recorded then keeps its default. UserError if a later version wrote more."""
        unknown = set(facts) - {f.name for f in fields(Run)} - _OF_CALIBRATION
        if unknown:
            raise UserError(
                f"Run {facts.get('id')} was written by a later version of crystalseg ('{min(unknown)}' is not known "
                "here): update this one."
            )
        region, um_per_px = facts.get("region"), facts.get("um_per_px")
        source, uncertainty = facts.get("calibration") or "", facts.get("calibration_uncertainty")
        own = {name: value for name, value in facts.items() if name not in _OF_CALIBRATION}
        own["calibration"] = Calibration(um_per_px, source, uncertainty) if um_per_px else None
        return Run(**own | {"region": tuple(region) if region else None})


def describe(
    micrograph: Micrograph,
    segmentation: Segmentation,
    summary: Summary | None,
    kept: Mapping[str, bytes],
    corrections: Sequence[dict] = (),
    marks: Mapping[int, str] = {},
    **more: Any,
) -> Run:
    """The `Run` of a Micrograph, its Segmentation, its Summary (or None), what was corrected by hand, and the files
    that are `kept` of it (`kept_files`). Nothing is written. `more`: other fields of Run."""
    return Run(
        image_name=micrograph.name,
        image_sha256=micrograph.sha256,
        region=micrograph.region,
        channel=micrograph.channel,
        calibration=micrograph.calibration,
        settings=json.loads(segmentation.settings.to_json()),
        hashes=segmentation.hashes,
        versions=segmentation.versions,
        device=segmentation.device,
        timings={stage: round(seconds, 3) for stage, seconds in segmentation.timings.items()},
        figures=json.loads(json.dumps(summary.to_dict())) if summary else None,
        corrections=list(corrections),
        marks={str(number): mark for number, mark in marks.items()},
        files={name: hashlib.sha256(data).hexdigest() for name, data in kept.items()},
        factors=list(segmentation.factors),
        **more,
    )


def labels_file(labels: np.ndarray, confidence: np.ndarray) -> bytes:
    """Labels int32 (H, W) and confidence float32 (n,) as one compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=labels, confidence=confidence)
    return buffer.getvalue()


def kept_files(labels: np.ndarray, confidence: np.ndarray, crystals: pd.DataFrame, rule: str) -> dict[str, bytes]:
    """What is kept of a result beside its figures: `labels`, and `crystals`, their table with a border rule."""
    return {
        "labels": labels_file(labels, confidence),
        "crystals": crystals_file(crystals, labels.shape, rule),
    }


def record(engine: Engine, run: Run, kept: Mapping[str, bytes], reports: Mapping[str, bytes] = {}) -> Run:
    """Put a run on record with the files that are kept of it and the reports issued with it, by form; returns the run
    as it is on record, which is the earlier one if there is one of this id.

    The run comes last: what is on record is complete. Its image belongs to it if the store has it.
    """
    for data in kept.values():
        store.put(data)
    run = with_image(run)
    operator = run.details.get("operator", "")
    for form, data in reports.items():
        issue(engine, [run.id], form, data, operator)
    return Run.from_dict(ledger.append(engine, "run", run.id, run.to_dict(), operator, once=True).body)


def with_image(run: Run) -> Run:
    """The run, with its image among its files if the store has it."""
    if not run.image_sha256 or not store.place(run.image_sha256).exists():
        return run
    return replace(run, files=run.files | {"image": run.image_sha256})


def recorded(engine: Engine) -> list[Run]:
    """All runs, newest first."""
    return [Run.from_dict(e.body) for e in reversed(ledger.entries(engine, "run"))]


def entry_of(engine: Engine, run_id: str) -> ledger.Entry:
    """A run's entry in the record; UserError if there is none."""
    entries = ledger.entries(engine, "run", run_id)
    if not entries:
        raise UserError(f"The record has no run {run_id}.")
    return entries[0]


def find(engine: Engine, run_id: str) -> Run:
    """The run of that id; UserError if there is none."""
    return Run.from_dict(entry_of(engine, run_id).body)


def same_networks(run: Run, hashes: Mapping[str, str]) -> bool:
    """Whether these weights, by name, are those the run's method used."""
    return all(run.hashes.get(name) == hashes.get(name) for name in run.chosen.networks)
