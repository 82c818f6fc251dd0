"""Runs brought back from the record and measured again."""

import io
import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.measurement import Measurement, measure
from crystalseg.measurement.query import parse
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import store
from crystalseg.record.runs import Run


@dataclass(frozen=True)
class Reopened:
    """A run from the record: its image as it was measured (None if its file was not kept), labels int32 (H, W),
    confidence float32 (n,), and what was measured again from them."""

    run: Run
    micrograph: Micrograph | None
    labels: np.ndarray
    confidence: np.ndarray
    measurement: Measurement


def reopen(run: Run, with_image: bool = True) -> Reopened:
    """Read a run's files and measure its labels again; StoreError if a file is missing or changed."""
    if "labels" not in run.files:
        raise store.StoreError(f"The labels of run {run.id} were not kept: it is of an earlier release.")
    with np.load(io.BytesIO(store.get(run.files["labels"])), allow_pickle=False) as file:
        labels, confidence = file["labels"], file["confidence"]
    marks = {int(number): mark for number, mark in run.marks.items()}
    measuring = run.chosen.measuring
    micrograph = None
    if (with_image or parse(measuring.only).needs_pixels) and "image" in run.files:
        micrograph = whole_image(run)
        micrograph = micrograph.crop(*run.region) if run.region else micrograph
    pixels = micrograph.pixels if micrograph else None
    measurement = measure(
        labels,
        run.um_per_px,
        measuring.border_rule,
        confidence,
        marks,
        measuring.only,
        pixels,
        measuring.convention,
    )
    return Reopened(run, micrograph, labels, confidence, measurement)


def whole_image(run: Run) -> Micrograph:
    """The image as it was uploaded, with the run's pixel size; StoreError if it is not in the store."""
    if "image" not in run.files:
        raise store.StoreError(f"The image of run {run.id} was not kept: upload {run.image_name} again.")
    micrograph = read_micrograph(store.checked(run.files["image"]), run.image_name, float("inf"), store.home())
    if not run.um_per_px:
        return replace(micrograph, calibration=None)
    calibration = Calibration(run.um_per_px, run.calibration or "", run.calibration_uncertainty)
    return replace(micrograph, calibration=calibration)


def same_figures(run: Run, summary: Summary | None) -> bool:
    """Whether figures measured again are those of the run on record, to the last digit. The interval of the average
    says how sure one was of it, and stays as it was stated then: see `stated_otherwise`."""

    def without(figures: dict | None) -> str:
        if figures and "average" in figures:
            figures = figures | {"average": figures["average"]["value"]}
        return json.dumps(figures, sort_keys=True)

    return without(asdict(summary) if summary else None) == without(run.figures)


def stated_otherwise(run: Run, summary: Summary | None) -> str:
    """In a sentence, how the interval of the average on record differs from what is computed today; "" if not."""
    stated = _stated(run)
    if summary is None or stated is None:
        return ""
    today = (summary.average.low, summary.average.high)
    if np.allclose(stated, today, rtol=1e-9, equal_nan=True):
        return ""
    then, now = ("not known" if np.isnan(of).any() else f"{of[0]:.4g} to {of[1]:.4g}" for of in (stated, today))
    return (
        f"The 95 % interval of the average (sampling) is given as it was stated with crystalseg "
        f"{run.software['crystalseg']}: {then} {summary.unit}. Computed today it is {now} {summary.unit}."
    )


def as_issued(run: Run, summary: Summary | None) -> Summary | None:
    """The summary of a run measured again, with the interval of the average as it is on record."""
    stated = _stated(run)
    if summary is None or stated is None:
        return summary
    return replace(summary, average=replace(summary.average, low=stated[0], high=stated[1]))


def _stated(run: Run) -> tuple[float, float] | None:
    """The ends of the interval of the average on record, NaN where it has none; None if no figures are on record."""
    average = (run.figures or {}).get("average", {})
    if not {"low", "high"} <= average.keys():
        return None
    low, high = (float("nan") if average[end] is None else float(average[end]) for end in ("low", "high"))
    return low, high
