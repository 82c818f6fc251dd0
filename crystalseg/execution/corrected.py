"""The result of a run with corrections by hand: logged as they are made, put on record when asked."""

import threading
from dataclasses import dataclass, field, replace

import pandas as pd
from sqlalchemy import Engine

from crystalseg.evaluation.comparison import Comparison
from crystalseg.execution.result import Result, conclude
from crystalseg.execution.result import hand_out as handed_out
from crystalseg.measurement.crystals import measure_crystals, remeasured
from crystalseg.measurement.field import Field
from crystalseg.measurement.measurement import Measurement, sum_up
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.corrections import correction_log, log_correction
from crystalseg.record.profiles import Profile
from crystalseg.record.store import digest
from crystalseg.report.handouts import Handout, Measured
from crystalseg.report.report import Details, Report
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.corrections.history import History, history_of
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Measuring


@dataclass
class Corrected:
    """The result of a job with some thresholds, and the corrections made to it. Threads may share it.

    original: as the job and these thresholds gave it; history: its labels and log; entries: length of the log, undo
    and redo included, which names the version.
    """

    engine: Engine
    job: str
    original: Segmentation
    history: History
    entries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _tables: dict[float | None, pd.DataFrame] = field(default_factory=dict)

    @property
    def choice(self) -> Instances:
        """The thresholds."""
        return self.original.settings.instances

    @property
    def version(self) -> str:
        """A name for the labels as they are now, for caches."""
        return digest(self.job, self.choice, self.entries)

    def table(self, um_per_px: float | None) -> pd.DataFrame:
        """The crystals now."""
        if um_per_px not in self._tables:
            h = self.history
            self._tables[um_per_px] = measure_crystals(h.labels, um_per_px, h.confidence, h.marks)
        return self._tables[um_per_px]

    def measurement(self, um_per_px: float | None, measuring: Measuring) -> Measurement:
        """The crystals now, those summed up that are to count; QueryError if the selection cannot be answered."""
        labels, pixels = self.history.labels, self.history.evidence.pixels
        return sum_up(self.table(um_per_px), labels, measuring.border_rule, measuring.only, pixels)

    def do(self, asked: Correction | str) -> None:
        """Carry out a correction, `undo` or `redo`, and log it; CorrectionError if it cannot be done."""
        with self.lock:
            h = self.history
            changed = h.do(asked) if isinstance(asked, Correction) else getattr(h, asked)()
            entry = asked.to_dict() if isinstance(asked, Correction) else {"kind": asked}
            log_correction(self.engine, self.job, self.choice.name, entry, entry.get("who", ""))
            self.entries += 1
            self._tables = {
                um: remeasured(table, changed, h.labels, um, h.confidence, h.marks)
                for um, table in self._tables.items()
            }

    def segmentation(self, measuring: Measuring | None = None) -> Segmentation:
        """The original with the corrected labels and confidences, and `measuring` in its settings if that is given."""
        settings = self.original.settings
        if measuring is not None:
            settings = replace(settings, measuring=measuring)
        history = self.history
        return replace(self.original, labels=history.labels, confidence=history.confidence, settings=settings)


def reopen_corrected(engine: Engine, job: str, segmentation: Segmentation, micrograph: Micrograph) -> Corrected:
    """A job's segmentation with the corrections on record for it and its thresholds."""
    log = [entry for _, entry in correction_log(engine, job, segmentation.settings.instances.name)]
    return Corrected(engine, job, segmentation, history_of(segmentation, micrograph.pixels, log), len(log))


def corrected_elsewhere(engine: Engine, job: str, choice: Instances) -> list[str]:
    """The thresholds, in words, for which there are corrections of this job that the present ones do not show."""
    names = dict.fromkeys(thresholds for thresholds, _ in correction_log(engine, job))
    return [name for name in names if name != choice.name]


def put_on_record(
    corrected: Corrected,
    micrograph: Micrograph,
    measuring: Measuring,
    validation: Validation | None,
    details: Details | None = None,
    profile: Profile | None = None,
    comparison: Comparison | None = None,
) -> Report:
    """The result as it is now, corrections, details and verdict with it, as a run of its own on record, and its
    report. The same result reported again, in another form perhaps, is the same run."""
    segmentation = corrected.segmentation(measuring)
    chosen = profile.to_json() if profile else ""
    details = details or Details()
    same = digest(corrected.version, micrograph.calibration, segmentation.settings, details.words(), chosen)
    result = Result(micrograph, segmentation, corrected.measurement(micrograph.um_per_px, measuring))
    log = [correction.to_dict() for correction in corrected.history.log]
    made = (validation, details, profile, log, corrected.history.marks, comparison)
    return conclude(corrected.engine, result, *made, job=corrected.job, id=same)


def hand_out(
    row: Handout,
    corrected: Corrected,
    micrograph: Micrograph,
    measuring: Measuring,
    validation: Validation | None,
    details: Details,
    profile: Profile | None,
) -> bytes:
    """One file of the result as it is now; what needs it puts it on record first."""
    table = corrected.measurement(micrograph.um_per_px, measuring).crystals
    field = Field(corrected.history.labels, table, micrograph.um_per_px, micrograph.name)
    measured = Measured(field, corrected.segmentation(measuring).settings, micrograph.pixels)

    def report() -> Report:
        return put_on_record(corrected, micrograph, measuring, validation, details, profile)

    return handed_out(corrected.engine, row, measured, report)
