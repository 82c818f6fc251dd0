"""The result of a run with corrections by hand: logged as they are made, put on record when asked."""

import threading
from contextlib import suppress
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
from crystalseg.record.ledger import StaleError
from crystalseg.record.profiles import Profile
from crystalseg.record.store import digest
from crystalseg.report.handouts import Handout, Measured
from crystalseg.report.report import Details, Report
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError, Undo
from crystalseg.segmentation.corrections.history import Change, History, history_of, logged
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Measuring

MEANWHILE = "Somebody else corrected this image just now: look at what they did, and try again."


@dataclass
class Corrected:
    """The result of a job with some thresholds, and the corrections made to it. Threads may share it, and other
    processes may correct the same job: what is in force here is on record, in the order of the record.

    original: as the job and these thresholds gave it; history: its labels and log; entries: length of the log, undo
    and redo included, which names the version; last: the number of the job's last correction on record that is known
    here, 0 for none. Arrays that were handed out stay as they are when something is corrected.
    """

    engine: Engine
    job: str
    original: Segmentation
    history: History
    entries: int = 0
    last: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    _tables: dict[float | None, pd.DataFrame] = field(default_factory=dict)

    @property
    def choice(self) -> Instances:
        """The thresholds."""
        return self.original.settings.instances

    @property
    def version(self) -> str:
        """A name for the labels as they are now, for caches."""
        return digest(self.job, canonical(self.choice), self.entries)

    def table(self, um_per_px: float | None) -> pd.DataFrame:
        """The crystals now."""
        with self.lock:
            if um_per_px not in self._tables:
                h = self.history
                self._tables[um_per_px] = measure_crystals(h.labels, um_per_px, h.confidence, h.marks)
            return self._tables[um_per_px]

    def measurement(self, um_per_px: float | None, measuring: Measuring) -> Measurement:
        """The crystals now, those summed up that are to count; QueryError if the selection cannot be answered."""
        with self.lock:
            table, labels = self.table(um_per_px), self.history.labels
        return sum_up(table, labels, measuring.border_rule, measuring.only, self.history.evidence.pixels)

    def do(self, asked: Correction | Undo, who: str = "") -> None:
        """Carry out a correction, `undo` or `redo`: it goes on record first, and then it is in force.

        CorrectionError if it cannot be done, or somebody else corrected meanwhile, RecordError if it cannot be put on
        record; then nothing was changed. who: by whom, unless the correction says so.
        """
        entry = asked.to_dict() if isinstance(asked, Correction) else {"kind": asked}
        with self.lock:
            if self._caught_up():
                raise CorrectionError(MEANWHILE)
            change = self.history.prepare(asked)
            try:
                number = log_correction(self.engine, self.job, self.choice, entry, entry.get("who") or who, self.last)
            except StaleError as error:
                self._caught_up()
                raise CorrectionError(MEANWHILE) from error
            except Exception:
                with suppress(Exception):  # a connection may break after all was written: the record tells
                    self._caught_up()
                raise
            self._put(change, number)

    def _caught_up(self) -> bool:
        """Put in force what is on record and not known here; whether there was anything."""
        new = correction_log(self.engine, self.job, after=self.last)
        own = [one for one in new if one.is_of(self.choice)]
        for one in own:
            self._put(self.history.prepare(logged(one.entry)), one.number)
        self.last = new[-1].number if new else self.last
        return bool(own)

    def _put(self, change: Change, number: int) -> None:
        """Put a change in force that is on record under a number."""
        h = self.history
        h.commit(change)
        self.entries, self.last = self.entries + 1, number
        tables, self._tables = self._tables, {}
        for um, table in tables.items():
            self._tables[um] = remeasured(table, change.numbers, h.labels, um, h.confidence, h.marks)

    def segmentation(self, measuring: Measuring | None = None) -> Segmentation:
        """The original with the corrected labels and confidences, and `measuring` in its settings if that is given."""
        settings = self.original.settings
        if measuring is not None:
            settings = replace(settings, measuring=measuring)
        with self.lock:
            labels, confidence = self.history.labels, self.history.confidence
        return replace(self.original, labels=labels, confidence=confidence, settings=settings)


def reopen_corrected(engine: Engine, job: str, segmentation: Segmentation, micrograph: Micrograph) -> Corrected:
    """A job's segmentation with the corrections on record for it and its thresholds."""
    every = correction_log(engine, job)
    log = [one.entry for one in every if one.is_of(segmentation.settings.instances)]
    last = every[-1].number if every else 0
    return Corrected(engine, job, segmentation, history_of(segmentation, micrograph.pixels, log), len(log), last)


def corrected_elsewhere(engine: Engine, job: str, choice: Instances) -> list[str]:
    """The thresholds, in words, of labels of this job to which corrections were made that these do not show."""
    others = [one for one in correction_log(engine, job) if not one.is_of(choice)]
    known = {one.text for one in others if one.instances is not None}
    old = [one.text for one in others if one.instances is None and one.text not in known]
    return list(dict.fromkeys([*old, *(one.instances.words for one in others if one.instances)]))


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
    details = details or Details()
    with corrected.lock:  # all of one moment
        segmentation, version = corrected.segmentation(measuring), corrected.version
        measurement = corrected.measurement(micrograph.um_per_px, measuring)
        log, marks = [correction.to_dict() for correction in corrected.history.log], corrected.history.marks
    same = digest(canonical([version, micrograph.calibration, segmentation.settings, details.words(), profile]))
    result = Result(micrograph, segmentation, measurement)
    made = (validation, details, profile, log, marks, comparison)
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
    with corrected.lock:  # all of one moment
        segmentation = corrected.segmentation(measuring)
        table = corrected.measurement(micrograph.um_per_px, measuring).crystals
    field = Field(segmentation.labels, table, micrograph.um_per_px, micrograph.name)
    measured = Measured(field, segmentation.settings, micrograph.pixels)

    def report() -> Report:
        return put_on_record(corrected, micrograph, measuring, validation, details, profile)

    return handed_out(corrected.engine, row, measured, report)
