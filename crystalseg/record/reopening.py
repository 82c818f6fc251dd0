"""Reopen runs from the record and measure them again."""

import io
import json
from dataclasses import dataclass, replace

import numpy as np

from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.measurement import Measurement, measure
from crystalseg.measurement.query import parse
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import store
from crystalseg.record.runs import Run


@dataclass(frozen=True)
class Reopened:
    """A run from the record: its measured image (None if its file was not kept), labels int32 (H, W), confidence
    float32 (n,), and the measurement that was made again from them."""

    run: Run
    micrograph: Micrograph | None
    labels: np.ndarray
    confidence: np.ndarray
    measurement: Measurement


def reopen(run: Run, with_image: bool = True) -> Reopened:
    """Read the files of a run and measure its labels again. Raises StoreError if a file is missing or changed."""
    if "labels" not in run.files:
        raise store.StoreError(f"The labels of run {run.id} were not kept, because an earlier release made it.")
    with np.load(io.BytesIO(store.get(run.files["labels"])), allow_pickle=False) as file:
        labels, confidence = file["labels"], file["confidence"]
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
        run.marked,
        measuring.only,
        pixels,
        measuring.convention,
    )
    return Reopened(run, micrograph, labels, confidence, measurement)


def whole_image(run: Run) -> Micrograph:
    """Return the image as uploaded, with the run's pixel size. Raises StoreError if it is not in the store."""
    if "image" not in run.files:
        raise store.StoreError(f"The image of run {run.id} was not kept. Upload {run.image_name} again.")
    image = store.checked(run.files["image"])
    channel = run.channel if run.channel > 1 else None
    micrograph = read_micrograph(image, run.image_name, float("inf"), store.home(), channel)
    return replace(micrograph, calibration=run.calibration)


def same_figures(run: Run, summary: Summary | None) -> bool:
    """Return whether repeated figures equal those of the run on record to the last digit. The interval of the average
    is not compared: it says how certain the average was, and stays as it was stated then (see `stated_otherwise`)."""

    def without(figures: Summary | None) -> str:
        if figures is None:
            return ""
        average = figures.average.value
        # compared as text, in which NaN equals itself
        return json.dumps(figures.to_dict() | {"average": average})

    return without(summary) == without(run.summary)


def stated_otherwise(run: Run, summary: Summary | None) -> str:
    """Say in a sentence how the recorded interval of the average differs from today's computation, or return "" if it
    does not."""
    stated = run.summary
    if summary is None or stated is None:
        return ""
    (then, now), unit = ((s.average.low, s.average.high) for s in (stated, summary)), summary.unit
    if np.allclose(then, now, rtol=1e-9, equal_nan=True):
        return ""
    words = ["not known" if np.isnan(ends).any() else f"{ends[0]:.4g} to {ends[1]:.4g}" for ends in (then, now)]
    return (
        f"The 95 % interval of the average (sampling) is {words[0]} {unit}, as crystalseg "
        f"{run.software['crystalseg']} stated it. Computed today, it is {words[1]} {unit}."
    )


def as_issued(run: Run, summary: Summary | None) -> Summary | None:
    """Return the summary of a run measured again, with the interval of the average as it is on record."""
    stated = run.summary
    if summary is None or stated is None:
        return summary
    return replace(summary, average=replace(summary.average, low=stated.average.low, high=stated.average.high))
