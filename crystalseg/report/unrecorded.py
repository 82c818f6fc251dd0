"""The report of a result that is not on record: for use from Python."""

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
    """The report of a segmented micrograph as the bytes of a file. The crystals are measured as
    `segmentation.settings.measuring` says. Nothing goes on record, and the report carries no signature of the record.

    `form`: pdf, html or excel, else UserError; `details`: of the sample; `profile`: its limits lead to a verdict;
    `validation`: what the method is off by on this kind of material, without which the report says that the uncertainty
    lacks it.

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
        raise UserError(f"A report is made as one of {', '.join(forms)}; '{form}' is none of them.")
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
