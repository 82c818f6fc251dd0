"""One sample's report before it is written: its fields, what the user says of it, its assessment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from crystalseg.evaluation.comparison import Comparison
from crystalseg.measurement.assessment import Assessment, assess
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.field import Field
from crystalseg.measurement.measurement import Measurement
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.anchors import Anchor
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import Reopened
from crystalseg.record.runs import Run
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings


@dataclass(frozen=True)
class Details:
    """What the user says about the sample; all may stay empty. received: when it came; authorised: who approved the
    report, and when; logo: PNG or JPEG bytes of the company's; paper: A4 or Letter."""

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

    def words(self) -> dict[str, str]:
        """What goes on record with the run."""
        names = ("sample", "material", "customer", "laboratory", "operator", "remarks", "company", "received")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


@dataclass(frozen=True)
class Part:
    """A field of the sample: its run, what was measured, summary (None if no crystal counted), and where they are at
    hand the image and the segmentation with its maps."""

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
    is handed out."""

    parts: tuple[Part, ...]
    assessment: Assessment | None
    profile: Profile
    details: Details = Details()
    comparison: Comparison | None = None
    anchor: Anchor | None = None

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
        """For the foot of every page: where this report is on record."""
        run = self.parts[0].run
        more = f" and {len(self.parts) - 1} more" if len(self.parts) > 1 else ""
        labels = run.files.get("labels", "")[:12]
        return (
            f"crystalseg {run.software['crystalseg']} · run {run.id}{more} · SHA-256 of image "
            f"{run.image_sha256[:12]}…, labels {labels}…"
        )


def make(
    parts: Sequence[Part],
    validation: Validation | None,
    details: Details = Details(),
    profile: Profile | None = None,
    comparison: Comparison | None = None,
) -> Report:
    """The report of a sample: its fields together are assessed against the profile's limits. `validation`: of the
    method on the profile's kind of material, None if there is none."""
    profile = profile or Profile("default settings")
    pixel_sizes = [part.run.calibration for part in parts if part.run.calibration]
    stated = [size.uncertainty for size in pixel_sizes if size.uncertainty is not None]
    calibration = max(stated) if len(stated) == len(parts) else None
    for part in parts:
        validation = validation.of(part.settings.conditions, part.run.hashes) if validation else None
    rule = parts[0].settings.measuring.border_rule
    assessment = assess([part.field for part in parts], rule, calibration, validation, profile.limits)
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
    """The report of one image just measured; its verdicts are in its run."""
    field = Field(segmentation.labels, measurement.crystals, run.um_per_px, run.image_name)
    part = Part(run, field, measurement.summary, micrograph, segmentation)
    report = make([part], validation, details, profile, comparison)
    return replace(report, parts=(replace(part, run=replace(run, verdicts=report.verdicts)),))


def printed_again(
    reopened: Reopened, validation: Validation | None, details: Details, profile: Profile | None = None
) -> Report:
    """A run's report, from the record. Where it would be judged otherwise today, its remarks say how it was then."""
    report = make([reopened_part(reopened)], validation, details, profile)
    run = reopened.run
    now = report.assessment.outcome if report.assessment else None
    if not run.outcome or run.outcome == now:
        return report
    said = (
        f"When this was measured, with crystalseg {run.software['crystalseg']}, the verdict was {run.outcome.upper()}; "
        "what is said here of uncertainty and verdict is as it is computed today."
    )
    return replace(report, details=replace(details, remarks=" ".join(filter(None, (details.remarks, said)))))


def reopened_part(reopened: Reopened) -> Part:
    """A run from the record as a field of a report; its maps are not kept, so that it has no attention page. Without an
    image to draw them on, its labels are not held."""
    run = reopened.run
    field = Field(reopened.labels, reopened.measurement.crystals, run.um_per_px, run.image_name)
    if reopened.micrograph is None:
        field.let_go()
    return Part(run, field, reopened.measurement.summary, reopened.micrograph)
