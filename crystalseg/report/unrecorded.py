"""Make the report of a result that is not on record, for use from Python."""

from crystalseg.errors import UserError
from crystalseg.measurement.measurement import measure
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import describe, kept_files
from crystalseg.report.handouts import in_memory, reports
from crystalseg.report.report import Details, report_of
from crystalseg.segmentation.segmentation import Segmentation


def report(
    micrograph: Micrograph,
    segmentation: Segmentation,
    form: str = "pdf",
    details: Details | None = None,
    profile: Profile | None = None,
    validation: Validation | None = None,
) -> bytes:
    """Return the report of a segmented micrograph as the bytes of a file. Crystals are measured as
    `segmentation.settings.measuring` states. Nothing goes on record, and the report has no signature of the record.

    form: pdf, html or excel; details: of the sample; profile: its limits give the verdict; validation: the error of the
    method on this kind of material. Without a validation, the report states that the uncertainty does not include it.
    Raises UserError for an unknown `form`.

    >>> from crystalseg import Settings, load_models, read_micrograph, report, segment
    >>> from crystalseg.micrographs.examples import FOLDER
    >>> micrograph = read_micrograph(FOLDER / "etched-metal-light-microscope.png")
    >>> segmentation = segment(micrograph, Settings(effort="quick"), load_models())
    >>> html = report(micrograph, segmentation, "html")
    >>> "Crystal size report: etched-metal-light-microscope.png" in html.decode()
    True
    """
    forms = {row.key: row for row in reports()}
    if form not in forms:
        raise UserError(f"A report cannot be made as '{form}'. Choose from {', '.join(forms)}.")
    details = details or Details()
    chosen = segmentation.settings.measuring
    measurement = measure(
        segmentation.labels,
        micrograph.um_per_px,
        chosen.border_rule,
        segmentation.confidence,
        only=chosen.only,
        pixels=micrograph.pixels,
    )
    kept = kept_files(segmentation.labels, segmentation.confidence, measurement.crystals, chosen.border_rule)
    run = describe(
        micrograph,
        segmentation,
        measurement.summary,
        kept,
        details=details.words(),
        profile=profile.name if profile else "",
    )
    made = report_of(micrograph, segmentation, measurement, run, validation, details, profile)
    return in_memory(forms[form].make(made))
