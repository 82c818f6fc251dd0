"""A sample's report before it is written: its fields, the user's details, and its assessment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from crystalseg.evaluation.comparison import Comparison
from crystalseg.measurement.assessment import Assessment, assess
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.field import Field
from crystalseg.measurement.measurement import Measurement
from crystalseg.measurement.specification import Verdict, overall
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.anchors import Anchor
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import Reopened, as_issued, stated_otherwise
from crystalseg.record.runs import Run
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings


@dataclass(frozen=True)
class Details:
    """The user's details of the sample, each of which may be empty. received: when the sample arrived; authorised: who
    approved the report and when; logo: the company's logo, PNG or JPEG bytes; paper: A4 or Letter; preset: one of
    `content.PRESETS`, or "" for the sections that the profile names."""

    sample: str = ""
    material: str = ""
    customer: str = ""
    laboratory: str = ""
    operator: str = ""
    remarks: str = ""
    paper: str = "A4"
    company: str = ""
    received: str = ""
    authorised: str = ""
    logo: bytes = b""
    preset: str = ""

    def words(self) -> dict[str, str]:
        """Return the details that go on record with the run."""
        names = ("sample", "material", "customer", "laboratory", "operator", "remarks", "company", "received")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


@dataclass(frozen=True)
class Part:
    """A field of the sample: its run, its measurements, its summary (None if no crystal was counted), and, if
    available, the image and the segmentation with its maps."""

    run: Run
    field: Field
    summary: Summary | None
    micrograph: Micrograph | None = None
    segmentation: Segmentation | None = None

    @property
    def crystals(self) -> pd.DataFrame:
        return self.field.crystals

    @property
    def settings(self) -> Settings:
        return self.run.chosen


@dataclass(frozen=True)
class Report:
    """One sample of one or more fields. assessment: None if no crystal counts; anchor: the record's end, signed, as it
    is handed out; as_issued: whether the interval of the average is the issued one instead of today's."""

    parts: tuple[Part, ...]
    assessment: Assessment | None
    profile: Profile
    details: Details = Details()
    comparison: Comparison | None = None
    anchor: Anchor | None = None
    as_issued: bool = False

    @property
    def title(self) -> str:
        first = self.parts[0].run.image_name
        many = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        return f"Crystal size report: {self.details.sample or first + many}"

    @property
    def verdicts(self) -> list[dict]:
        """The verdicts, JSON-ready, for the record."""
        return [v.to_dict() for v in self.assessment.verdicts] if self.assessment else []

    @property
    def identity(self) -> str:
        """The report's identity on record, for the foot of every page."""
        run = self.parts[0].run
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        labels = run.files.get("labels", "")[:12]
        return f"crystalseg {run.software['crystalseg']} · run {run.id}{more} · SHA-256 of labels {labels}…"


def make(
    parts: Sequence[Part],
    validation: Validation | None,
    details: Details = Details(),
    profile: Profile | None = None,
    comparison: Comparison | None = None,
) -> Report:
    """Return the report of a sample; its fields are assessed together against the profile's limits. validation: of the
    method on the profile's kind of material, or None if there is none."""
    profile = profile or Profile("default settings")
    pixel_sizes = [part.run.calibration for part in parts if part.run.calibration]
    stated = [size.uncertainty for size in pixel_sizes if size.uncertainty is not None]
    calibration = max(stated) if len(stated) == len(parts) else None
    for part in parts:
        validation = validation.of(part.settings.conditions, part.run.hashes) if validation else None
    rule = parts[0].settings.measuring.border_rule
    assessment = assess([part.field for part in parts], rule, calibration, validation, profile.limits, profile.decision)
    return Report(tuple(parts), assessment, profile, details, comparison)


def report_of(
    micrograph: Micrograph,
    segmentation: Segmentation,
    measurement: Measurement,
    run: Run,
    validation: Validation | None,
    details: Details = Details(),
    profile: Profile | None = None,
    comparison: Comparison | None = None,
) -> Report:
    """Return the report of one image that was just measured; its verdicts are in its run."""
    field = Field(segmentation.labels, measurement.crystals, run.um_per_px, run.image_name, _convention(run))
    part = Part(run, field, measurement.summary, micrograph, segmentation)
    report = make([part], validation, details, profile, comparison)
    return replace(report, parts=(replace(part, run=replace(run, verdicts=report.verdicts)),))


def printed_again(
    reopened: Reopened, validation: Validation | None, details: Details, profile: Profile | None = None
) -> Report:
    """Return the report of a run on record, with the interval of its average and its verdicts as issued. If they would
    differ today, the remarks say so."""
    run, summary = reopened.run, reopened.measurement.summary
    report = make([reopened_part(reopened)], validation, details, profile)
    said = [details.remarks, stated_otherwise(run, summary)]
    if said[-1]:
        report = replace(report, parts=tuple(replace(p, summary=as_issued(run, summary)) for p in report.parts))
        report = replace(report, as_issued=True)
    if run.judged and report.assessment is not None:
        said.append(_judged_today(run.judged, report.assessment))
        report = replace(report, assessment=replace(report.assessment, verdicts=tuple(run.judged)))
    return replace(report, details=replace(details, remarks=" ".join(filter(None, said))))


def _judged_today(issued: Sequence[Verdict], today: Assessment) -> str:
    """Return, in sentences, how the verdicts as issued differ from those of today, or "" if they do not."""
    then, now = overall(issued), today.outcome
    if then != now:
        return (
            f"The verdict {str(then).upper()} is given as issued. Judged today it is {str(now or 'none').upper()}. The "
            f"tables of figures and of uncertainty are computed today."
        )
    stated, computed = ([v.expanded for v in of] for of in (issued, today.verdicts))
    if len(stated) != len(computed) or not np.allclose(stated, computed, rtol=1e-6, equal_nan=True):
        return (
            "The verdict is given as issued and is the same today. The tables of figures and of uncertainty are "
            "computed today, with another uncertainty."
        )
    return ""


def _convention(run: Run) -> int:
    return run.chosen.measuring.convention


def reopened_part(reopened: Reopened) -> Part:
    """Return a run on record as a field of a report. Its maps are not kept, so it has no attention page. Without an
    image to draw on, its labels are not loaded."""
    run = reopened.run
    field = Field(reopened.labels, reopened.measurement.crystals, run.um_per_px, run.image_name, _convention(run))
    if reopened.micrograph is None:
        field.let_go()
    return Part(run, field, reopened.measurement.summary, reopened.micrograph)
