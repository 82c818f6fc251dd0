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

_COMMIT = places.commit()  # read at import, because the checkout may change while this process lives


def software() -> dict[str, str]:
    """Return the versions that a figure depends on, and this program's commit as `places.commit` gives it."""
    packages = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "segmentation-models-pytorch")
    own = {"crystalseg": __version__, "commit": _COMMIT, "Python": platform.python_version()}
    return own | {p: version(p) for p in packages}


_OF_CALIBRATION = {"um_per_px", "calibration", "calibration_uncertainty"}  # the fields of a pixel size in the record


@dataclass(frozen=True)
class Run:
    """A finished run on record.

    Settings, figures, corrections, marks and verdicts are JSON-ready, word for word as they were written; use `chosen`,
    `summary`, `log`, `marked` and `judged` to work with them.

    image_sha256: The hash of the uploaded file.
    region: The measured part, or None for the whole image.
    calibration: The pixel size, or None.
    figures: None if no crystal counted.
    corrections: The corrections in force.
    marks: Pores and artefacts by crystal number.
    files: The hashes of the files in the store, by name: `image` (as uploaded), `labels` and `crystals`.
    details: What the user said about the sample.
    factors: The resize factors used.
    profile: The name of the profile, or "".
    job: The id of its job in the queue, or "".
    device: The device that the networks ran on, in words, or "".
    channel: The channel of a file with several.
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
        """The settings. Raises SettingsError if this version does not know them."""
        return Settings.on_record(self.settings)

    @property
    def summary(self) -> Summary | None:
        """The figures, or None if no crystal counted. Raises UserError if this version cannot read them."""
        return Summary.from_dict(self.figures) if self.figures else None

    @property
    def log(self) -> tuple[Correction, ...]:
        """The corrections in force, oldest first."""
        return tuple(map(Correction.from_dict, self.corrections))

    @property
    def marked(self) -> dict[int, str]:
        """Pores and artefacts by crystal number."""
        return {int(number): mark for number, mark in self.marks.items()}

    @property
    def outcome(self) -> str:
        """The overall verdict, or "" if the run was not judged."""
        return overall(self.judged) or ""

    @property
    def judged(self) -> list[Verdict]:
        """The verdicts."""
        return [Verdict.from_dict(verdict) for verdict in self.verdicts]

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready facts for the record."""
        facts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "calibration"}
        stated = self.calibration
        return facts | {
            "um_per_px": self.um_per_px,
            "calibration": stated.source if stated else None,
            "calibration_uncertainty": stated.uncertainty if stated else None,
        }

    @staticmethod
    def from_dict(facts: Mapping) -> "Run":
        """Read a run from the record. Fields that were not recorded get their defaults. Raises UserError for a run of a
        later version."""
        unknown = set(facts) - {f.name for f in fields(Run)} - _OF_CALIBRATION
        if unknown:
            raise UserError(
                f"Run {facts.get('id')} was written by a later version of crystalseg: this version does not know "
                f"'{min(unknown)}'. Update crystalseg."
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
    """Make the `Run` of a Micrograph, its Segmentation, its Summary (or None), the manual corrections, and the files
    that are `kept` (`kept_files`). `more` holds other fields of Run. Nothing is written."""
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
    """Return labels int32 (H, W) and confidence float32 (n,) as one compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=labels, confidence=confidence)
    return buffer.getvalue()


def kept_files(labels: np.ndarray, confidence: np.ndarray, crystals: pd.DataFrame, rule: str) -> dict[str, bytes]:
    """Return the files that are kept of a result: `labels`, and `crystals`, the table with weights by the border
    rule."""
    return {
        "labels": labels_file(labels, confidence),
        "crystals": crystals_file(crystals, labels.shape, rule),
    }


def record(engine: Engine, run: Run, kept: Mapping[str, bytes], reports: Mapping[str, bytes] = {}) -> Run:
    """Put a run on record with its `kept` files and the reports issued with it, by form.

    Return the run as it is on record: if there is an earlier run with this id, that one. The run is written last, so
    that everything on record is complete. The image is added to its files if the store has it.
    """
    for data in kept.values():
        store.put(data)
    run = with_image(run)
    operator = run.details.get("operator", "")
    for form, data in reports.items():
        issue(engine, [run.id], form, data, operator)
    return Run.from_dict(ledger.append(engine, "run", run.id, run.to_dict(), operator, once=True).body)


def with_image(run: Run) -> Run:
    """Return the run with its image among its files if the store has the image."""
    if not run.image_sha256 or not store.place(run.image_sha256).exists():
        return run
    return replace(run, files=run.files | {"image": run.image_sha256})


def recorded(engine: Engine) -> list[Run]:
    """Return all runs, newest first."""
    return [Run.from_dict(e.body) for e in reversed(ledger.entries(engine, "run"))]


def entry_of(engine: Engine, run_id: str) -> ledger.Entry:
    """Return a run's entry in the record. Raises UserError if there is none."""
    entries = ledger.entries(engine, "run", run_id)
    if not entries:
        raise UserError(f"There is no run {run_id} on record.")
    return entries[0]


def find(engine: Engine, run_id: str) -> Run:
    """Return the run with that id. Raises UserError if there is none."""
    return Run.from_dict(entry_of(engine, run_id).body)


def same_networks(run: Run, hashes: Mapping[str, str]) -> bool:
    """Return whether these weights, by name, are the ones that the run's method used."""
    return all(run.hashes.get(name) == hashes.get(name) for name in run.chosen.networks)
