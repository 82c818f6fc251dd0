"""The result of a micrograph and the end of the main path: report, record and files.

Workers describe results and make files; one process writes them. `conclude` does both at once.
"""

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from crystalseg.evaluation.comparison import Comparison
from crystalseg.measurement.measurement import Measurement
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import natural
from crystalseg.record import store
from crystalseg.record.anchors import Anchor, anchor
from crystalseg.record.profiles import Profile
from crystalseg.record.reports import issue
from crystalseg.record.runs import Run, describe, kept_files, record, with_image
from crystalseg.report.handouts import HANDOUTS, SERIES_HANDOUTS, Handout, Made, Measured, in_memory, write
from crystalseg.report.report import Details, Report, report_of
from crystalseg.segmentation.segmentation import Segmentation

OF_ALL = (".pdf", ".csv", ".xlsx", "_labels.npz")  # files about a whole batch, and labels of earlier releases


@dataclass(frozen=True)
class Result:
    """A micrograph with its segmentation and its measurement."""

    micrograph: Micrograph
    segmentation: Segmentation
    measurement: Measurement


@dataclass(frozen=True)
class Described:
    """A result that is ready to be recorded; nothing is written yet.

    run: The run.
    kept: The files that the record keeps of it, by name.
    formats: The keys of the files to write.
    files: Those of the files that can be made before the run is on record.
    """

    run: Run
    kept: dict[str, bytes]
    formats: tuple[str, ...] = ()
    files: dict[str, Made] = field(default_factory=dict)

    @property
    def in_memory(self) -> "Described":
        """The same with the bytes of all files in memory, for sending."""
        return replace(self, files={key: in_memory(data) for key, data in self.files.items()})


@dataclass(frozen=True)
class Documented:
    """A result that is ready to be recorded: its report with verdicts and run, and the files that the record keeps of
    it."""

    report: Report
    kept: dict[str, bytes]

    @property
    def run(self) -> Run:
        return self.report.parts[0].run

    def described(self, formats: Sequence[str], end: Anchor | None) -> Described:
        """Return it with the files of these formats. `end` is the end of the record, for reports."""
        report, measured = replace(self.report, anchor=end), Measured.of(self.report.parts[0])
        rows = [row for row in map(HANDOUTS.__getitem__, formats) if row.of is not Run]
        files = {row.key: row.make(report if row.of is Report else measured) for row in rows}
        return Described(self.run, self.kept, tuple(formats), files)


def described(
    result: Result,
    details: Details | None = None,
    profile: Profile | None = None,
    corrections: Sequence[dict] = (),
    marks: Mapping[int, str] = {},
    **more: Any,
) -> Described:
    """Describe a result as a run without report or verdict. The arguments are those of `documented`."""
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
        details=(details or Details()).words(),
        profile=profile.name if profile else "",
        **more,
    )
    return Described(run, kept)


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
    """Describe a result and judge it against the profile's limits. Nothing is written.

    `validation` is the validation of the method on the profile's kind of material, or None. `corrections` and `marks`
    were made by hand. `more` holds other fields of the run.
    """
    made = described(result, details, profile, corrections, marks, **more)
    facts = result.micrograph, result.segmentation, result.measurement, made.run
    return Documented(report_of(*facts, validation, details or Details(), profile, comparison), made.kept)


def settle(engine: Engine, made: Described, place: Path | None = None) -> Run:
    """Write the files of a result, whose paths begin with `place`, and put its run and the reports among the files on
    record. Return the run as it is on record. The run is written last, so that everything on record is complete."""

    def out(row: Handout, data: Made) -> None:
        if place is not None:
            with store.written_safely(place.with_name(f"{place.name}_{row.ending}")) as file:
                write(data, file)

    run, reports = with_image(made.run), {}
    for row in map(HANDOUTS.__getitem__, made.formats):
        data = row.make(run) if row.of is Run else made.files[row.key]
        out(row, data)
        if row.form:
            reports[row.form] = in_memory(data)
    on_record = record(engine, run, made.kept, reports)
    if on_record.to_json() != run.to_json():  # the run was on record before this process began
        for row in map(HANDOUTS.__getitem__, made.formats):
            if row.of is Run:
                out(row, row.make(on_record))
    return on_record


def conclude(
    engine: Engine,
    result: Result,
    validation: Validation | None,
    *facts: Any,
    formats: Sequence[str] = (),
    place: Path | None = None,
    **more: Any,
) -> Report:
    """End the main path: describe and judge a result, write the files of these `formats`, whose paths begin with
    `place`, and put everything on record. Reports carry the current end of the record.

    `facts` and `more` are as for `documented`. Return the report, with its run as it is on record.
    """
    ready = documented(result, validation, *facts, **more)
    end = anchor(engine) if any(HANDOUTS[key].form for key in formats) else None
    run = settle(engine, ready.described(formats, end), place)
    return replace(ready.report, parts=(replace(ready.report.parts[0], run=run),))


def issue_report(engine: Engine, row: Handout, report: Report, who: str = "") -> bytes:
    """Make the file of a report whose runs are on record, and put it on record as handed out to `who`, or else to its
    operator. The file carries the current end of the record."""
    data = row.made(replace(report, anchor=anchor(engine)))
    return issue(engine, [part.run.id for part in report.parts], row.form, data, who or report.details.operator)


def hand_out(engine: Engine, row: Handout, measured: Measured, report: Callable[[], Report], who: str = "") -> bytes:
    """Return one file of an image, for `who`. `report` returns its report with the run on record; it is called only for
    files that need it."""
    if row.of is Measured:
        return row.made(measured)
    documented = report()
    return row.made(documented.parts[0].run) if row.of is Run else issue_report(engine, row, documented, who)


def packed(folder: Path) -> bytes:
    """Return a ZIP file of the results in a folder of long work, without copies of its images."""
    rows = [row for row in HANDOUTS.values() if not row.needs_image]
    endings = (*OF_ALL, *(f"_{row.ending}" for row in rows))
    names = {"batch.json", *(row.ending for row in SERIES_HANDOUTS.values())}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.glob("*.*"), key=natural):
            if path.name.endswith(endings) or path.name in names:
                archive.write(path, path.name)
    return buffer.getvalue()
