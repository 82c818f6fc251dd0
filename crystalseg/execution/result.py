"""What a measured micrograph gives, and what of it goes on record and into files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crystalseg.evaluation.comparison import Comparison
from crystalseg.measurement.measurement import Measurement
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run, describe, kept_files
from crystalseg.report.report import Details, Report, report_of
from crystalseg.segmentation.segmentation import Segmentation


@dataclass(frozen=True)
class Result:
    """A micrograph with its segmentation and what was measured of that."""

    micrograph: Micrograph
    segmentation: Segmentation
    measurement: Measurement


@dataclass(frozen=True)
class Documented:
    """A result ready to be recorded: its report, with verdicts and run, and the files kept of it."""

    report: Report
    kept: dict[str, bytes]

    @property
    def run(self) -> Run:
        return self.report.parts[0].run


def documented(
    result: Result,
    validation: Validation | None,
    details: Details | None = None,
    profile: Profile | None = None,
    corrections: Sequence[dict] = (),
    marks: Mapping[int, str] = {},
    comparison: Comparison | None = None,
    **more: Any,
) -> Documented:
    """Describe a result and judge it against the profile's limits; nothing is written.

    `validation`: of the method on the profile's kind of material, or None; `corrections`, `marks`: made by hand;
    `more`: other fields of the run.
    """
    details = details or Details()
    segmentation, measurement = result.segmentation, result.measurement
    rule = segmentation.settings.measuring.border_rule
    kept = kept_files(segmentation.labels, segmentation.confidence, measurement.crystals, rule)
    run = describe(
        result.micrograph,
        segmentation,
        measurement.summary,
        kept,
        corrections,
        marks,
        details=details.words(),
        profile=profile.name if profile else "",
        **more,
    )
    report = report_of(result.micrograph, segmentation, measurement, run, validation, details, profile, comparison)
    return Documented(report, kept)
