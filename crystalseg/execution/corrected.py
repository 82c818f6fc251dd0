"""The result of a run with manual corrections. Each correction is logged when it is made; the result goes on record on
request."""

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

MEANWHILE = "Somebody else has just corrected this image. Look at the change, and try again."


@dataclass
class Corrected:
    """The result of a job with given thresholds, and its corrections.

    Threads may share it, and other processes may correct the same job. Every correction in force here is on record, in
    the order of the record. Arrays that were handed out do not change when something is corrected.

    original: The result of the job with these thresholds.
    history: Its labels and log.
    entries: The length of the log including undo and redo, which identifies the version.
    last: The number of the job's last correction on record that is known here, 0 for none.
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
        """A name for the current labels, for caches."""
        return digest(self.job, canonical(self.choice), self.entries)

    def table(self, um_per_px: float | None) -> pd.DataFrame:
        """Return the current crystals."""
        with self.lock:
            if um_per_px not in self._tables:
                h = self.history
                self._tables[um_per_px] = measure_crystals(h.labels, um_per_px, h.confidence, h.marks)
            return self._tables[um_per_px]

    def measurement(self, um_per_px: float | None, measuring: Measuring) -> Measurement:
        """Return the current crystals, and the summary of those that count. Raises QueryError if the selection cannot
        be answered."""
        with self.lock:
            table, labels = self.table(um_per_px), self.history.labels
        return sum_up(table, labels, measuring.border_rule, measuring.only, self.history.evidence.pixels)

    def do(self, asked: Correction | Undo, who: str = "") -> None:
        """Apply a correction, `undo` or `redo`. It is put on record first, then it takes effect.

        `who` is the person who corrected, unless the correction names one. Raises CorrectionError if it cannot be done
        or somebody else corrected meanwhile, and RecordError if it cannot be put on record; nothing is changed then.
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
                with suppress(Exception):  # the connection may break after the entry was written; the record tells
                    self._caught_up()
                raise
            self._put(change, number)

    def _caught_up(self) -> bool:
        """Apply corrections that are on record and not known here. Return whether there were any."""
        new = correction_log(self.engine, self.job, after=self.last)
        own = [one for one in new if one.is_of(self.choice)]
        for one in own:
            self._put(self.history.prepare(logged(one.entry)), one.number)
        self.last = new[-1].number if new else self.last
        return bool(own)

    def _put(self, change: Change, number: int) -> None:
        """Apply a change that is on record under this number."""
        h = self.history
        h.commit(change)
        self.entries, self.last = self.entries + 1, number
        tables, self._tables = self._tables, {}
        for um, table in tables.items():
            self._tables[um] = remeasured(table, change.numbers, h.labels, um, h.confidence, h.marks)

    def segmentation(self, measuring: Measuring | None = None) -> Segmentation:
        """Return the original with corrected labels and confidences, and with `measuring` in its settings if given."""
        settings = self.original.settings
        if measuring is not None:
            settings = replace(settings, measuring=measuring)
        with self.lock:
            labels, confidence = self.history.labels, self.history.confidence
        return replace(self.original, labels=labels, confidence=confidence, settings=settings)


def reopen_corrected(engine: Engine, job: str, segmentation: Segmentation, micrograph: Micrograph) -> Corrected:
    """Return a job's segmentation with the corrections on record for it and its thresholds."""
    every = correction_log(engine, job)
    log = [one.entry for one in every if one.is_of(segmentation.settings.instances)]
    last = every[-1].number if every else 0
    return Corrected(engine, job, segmentation, history_of(segmentation, micrograph.pixels, log), len(log), last)


def corrected_elsewhere(engine: Engine, job: str, choice: Instances) -> list[str]:
    """Return, in words, the other thresholds of this job for which corrections are on record. The labels with `choice`
    do not show those corrections."""
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
    """Put the current result on record as its own run, with corrections, details and verdict, and return its report.
    The same result reported again, even in another form, is the same run."""
    details = details or Details()
    with corrected.lock:  # taken together, so that they belong to one version
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
    """Return one file of the current result. Files that need the result on record put it there first."""
    with corrected.lock:  # taken together, so that they belong to one version
        segmentation = corrected.segmentation(measuring)
        table = corrected.measurement(micrograph.um_per_px, measuring).crystals
    field = Field(segmentation.labels, table, micrograph.um_per_px, micrograph.name)
    measured = Measured(field, segmentation.settings, micrograph.pixels)

    def report() -> Report:
        return put_on_record(corrected, micrograph, measuring, validation, details, profile)

    return handed_out(corrected.engine, row, measured, report)
