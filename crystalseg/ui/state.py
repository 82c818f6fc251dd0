"""What a browser session holds, and what all sessions share."""

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pandas as pd
import streamlit as st

from crystalseg import samples, store
from crystalseg.calibration import Calibration
from crystalseg.correct import Correction, History, history_of
from crystalseg.instruments import Instrument
from crystalseg.instruments import instruments as all_instruments
from crystalseg.instruments import save as keep_instrument
from crystalseg.jobs import Queue
from crystalseg.measure.assessment import Assessment
from crystalseg.measure.crystals import measure_crystals, remeasured
from crystalseg.measure.distribution import Summary
from crystalseg.measure.figures import Field
from crystalseg.micrograph import MAX_MEGAPIXELS, Micrograph, MicrographError, find_data_bar, read_micrograph
from crystalseg.profiles import Profile, default_of
from crystalseg.profiles import profiles as all_profiles
from crystalseg.report.comparison import Comparison
from crystalseg.report.sample import Details, Report, report_of
from crystalseg.runs import Run, correction_log, describe, log_correction, record, recorded, whole_image
from crystalseg.runs import find as find_run
from crystalseg.runs import issue as put_report
from crystalseg.segmentation import Segmentation
from crystalseg.settings import Instances, Measuring, Settings
from crystalseg.validation import assess_product

# Widgets whose values hold for all pages; Streamlit forgets a widget's value when another page is opened.
KEPT = (
    "method", "package model", "factors plus", "factors", "thresholds", "foreground", "min area", "min confidence",
    "border rule", "who", "axis", "weighting", "profile", "profile product",
)  # fmt: skip


@dataclass
class Item:
    """One micrograph of the session. original: as read; bar: first row of the data bar found, or None; exclude_bar and
    region (top, left, bottom, right) or None: what is measured; job: the run that is shown; runs: all, the latest of
    each method; opener: the sample that was there before the user chose anything."""

    original: Micrograph
    bar: int | None
    exclude_bar: bool = True
    region: tuple[int, int, int, int] | None = None
    job: str | None = None
    runs: dict[str, str] = field(default_factory=dict)
    opener: bool = False

    @property
    def key(self) -> str:
        return f"{self.original.sha256}-{self.original.name}"

    def prepared(self) -> Micrograph:
        """The part of the image that is to be measured; MicrographError if the region is unusable."""
        height, width = self.original.shape
        top, left, bottom, right = self.region or (0, 0, height, width)
        if self.bar is not None and self.exclude_bar:
            bottom = min(bottom, self.bar)
        whole = (top, left, bottom, right) == (0, 0, height, width)
        return self.original if whole else self.original.crop(top, left, bottom, right)

    def calibrate(self, calibration) -> None:
        self.original = replace(self.original, calibration=calibration)

    def run(self, micrograph: Micrograph, settings: Settings) -> str:
        """Queue a run; returns the job."""
        job = queue().submit(micrograph, settings)
        self.runs[settings.method] = job
        return job


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    return Queue()


def items() -> dict[str, Item]:
    return st.session_state.setdefault("items", {})


def add(data: bytes, name: str) -> str:
    """Read a file into the session; returns its key. A file that is already there is left as it is."""
    limit = float(os.environ.get("CRYSTALSEG_MAX_MEGAPIXELS") or MAX_MEGAPIXELS)
    micrograph = read_micrograph(data, name, limit)
    store.put(data)
    item = Item(micrograph, find_data_bar(micrograph.pixels))
    _forget_openers()
    items().setdefault(item.key, item)
    return item.key


def _forget_openers() -> None:
    for key in [key for key, other in items().items() if other.opener]:
        del items()[key]


def add_uploads(uploads: list) -> list[str]:
    """Read new uploads; returns one sentence for each that cannot be used.

    What an upload became is kept by the session: the uploader forgets its files when another page is opened.
    """
    seen: dict[str, str] = st.session_state.setdefault("uploads", {})
    problems = []
    for upload in uploads:
        if upload.file_id in seen:
            problems.append(seen[upload.file_id])
            continue
        try:
            st.session_state["current"] = add(upload.getvalue(), upload.name)
            seen[upload.file_id] = ""
        except MicrographError as error:
            seen[upload.file_id] = str(error)
            problems.append(str(error))
    return [problem for problem in problems if problem]


def remove(key: str) -> None:
    """Forget a micrograph; its runs stay in the record."""
    items().pop(key, None)


def current() -> Item | None:
    """The micrograph being worked on."""
    held = items()
    if not held:
        _first_sample()
    if st.session_state.get("current") not in held:
        st.session_state["current"] = next(iter(held), None)
    return held.get(st.session_state["current"])


def _first_sample() -> None:
    """Nobody meets an empty page: a sample is there, measured."""
    micrograph = samples.first()
    item = Item(micrograph, find_data_bar(micrograph.pixels), job=first_job(), opener=True)
    item.runs[Settings().method] = item.job
    items()[item.key] = item


def take_up(run: Run) -> None:
    """Work on with a run from the record: its image, pixel size, region, settings, and the corrections made to it.
    StoreError if its image is not in the store."""
    whole = whole_image(run)
    item = Item(whole, find_data_bar(whole.pixels))
    height, width = whole.shape
    item.exclude_bar = item.bar is not None and run.region is not None and run.region[2] <= item.bar
    if run.region and run.region != (0, 0, item.bar if item.exclude_bar else height, width):
        item.region = run.region
    engine = queue().engine
    job = run.job or run.id
    settings = Settings.from_dict(find_run(engine, job).settings)
    queue().bring_back(job, whole.crop(*run.region) if run.region else whole, settings)
    item.job = job
    item.runs[settings.method] = job
    _forget_openers()
    items()[item.key] = item
    st.session_state["current"] = item.key
    st.session_state["profile product"] = None
    st.session_state["profile"] = run.profile if run.profile in profiles() else None
    choose(Settings.from_dict(run.settings))


def choose(settings: Settings) -> None:
    """Set every control to these settings."""
    held, scales = st.session_state, settings.scales
    factors = ", ".join("auto" if f is None else f"{f:g}" for f in scales.factors)
    held["method"] = settings.method.partition(":")[0]
    held["package model"] = settings.method.partition(":")[2]
    held["factors plus"] = factors
    held["factors"] = factors or "auto, 0.5, 0.75, 1"
    held["thresholds"] = ", ".join(f"{t:g}" for t in scales.levels)
    held["foreground"] = settings.instances.foreground_threshold
    held["min area"] = settings.instances.min_area
    held["min confidence"] = settings.instances.min_confidence
    held["border rule"] = settings.measuring.border_rule


@st.cache_resource(show_spinner=False)
def first_job() -> str:
    return samples.first_job(queue())


def instances() -> Instances:
    """The thresholds chosen on any page."""
    usual, held = Instances(), st.session_state
    return Instances(
        float(held.get("foreground", usual.foreground_threshold)),
        int(held.get("min area", usual.min_area)),
        float(held.get("min confidence", usual.min_confidence)),
    )


def measuring() -> Measuring:
    """The border rule chosen on any page."""
    return Measuring(st.session_state.get("border rule", Measuring().border_rule))


def preserve() -> None:
    """Call first on every page: keeps the values of KEPT although their widgets may not be on it.

    Also sees that the page has its navigation: Streamlit runs a page's file alone, without app.py, if its address is
    the first that a new server is asked for.
    """
    if not st.session_state.get("entered"):
        st.switch_page("app.py")
    for key in KEPT:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


@st.cache_resource(max_entries=4, show_spinner=False)
def result(job: str) -> tuple[Micrograph, Segmentation] | None:
    """A finished job's micrograph and segmentation, shared by all sessions: do not change the arrays."""
    return queue().result(job)


@st.cache_resource(max_entries=8, show_spinner=False)
def with_instances(job: str, choice: Instances) -> Segmentation:
    """The job's segmentation with these thresholds, from the kept maps; torch is loaded only if they changed."""
    micrograph, found = result(job)
    if found.settings.instances == choice:
        return found
    from crystalseg.baselines import again
    from crystalseg.pipeline import load_confidence

    return again(found, micrograph.pixels, choice, load_confidence())


@st.cache_resource(max_entries=8, show_spinner=False)
def table(job: str, choice: Instances, um_per_px: float | None) -> pd.DataFrame:
    """The crystals of a job with these thresholds, as the method found them."""
    found = with_instances(job, choice)
    return measure_crystals(found.labels, um_per_px, found.confidence)


@dataclass
class Corrected:
    """The result of a job with some thresholds, and the corrections made to it; all sessions share one.

    history: labels and log; entries: length of the log, undo and redo included, which names the version.
    """

    job: str
    choice: Instances
    history: History
    entries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _tables: dict[float | None, pd.DataFrame] = field(default_factory=dict)

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

    def do(self, asked: Correction | str) -> None:
        """Carry out a correction, `undo` or `redo`, and log it; CorrectionError if it cannot be done."""
        with self.lock:
            h = self.history
            changed = h.do(asked) if isinstance(asked, Correction) else getattr(h, asked)()
            entry = asked.to_dict() if isinstance(asked, Correction) else {"kind": asked}
            log_correction(queue().engine, self.job, self.choice.name, entry, entry.get("who", ""))
            self.entries += 1
            self._tables = {
                um: remeasured(table, changed, h.labels, um, h.confidence, h.marks)
                for um, table in self._tables.items()
            }

    def segmentation(self) -> Segmentation:
        """As the run gave it, with the corrected labels and confidences."""
        found = with_instances(self.job, self.choice)
        return replace(found, labels=self.history.labels, confidence=self.history.confidence)


@st.cache_resource(max_entries=8, show_spinner=False)
def corrected(job: str, choice: Instances) -> Corrected:
    """The job's result with these thresholds and the corrections on record for them."""
    micrograph, _ = result(job)
    found = with_instances(job, choice)
    log = [entry for _, entry in correction_log(queue().engine, job, choice.name)]
    return Corrected(job, choice, history_of(found, micrograph.pixels, log), len(log))


@st.cache_resource(max_entries=8, show_spinner=False)
def assessment(
    version: str, settings: Settings, calibration: Calibration | None, profile: Profile, _field: Field
) -> Assessment | None:
    """Figures, uncertainty and verdict of a field whose labels `version` names."""
    known = calibration.uncertainty if calibration else None
    return assess_product([_field], settings, known, profile.kind, profile.limits)


def put_on_record(
    corrected: Corrected,
    micrograph: Micrograph,
    found: Segmentation,
    summary: Summary | None,
    details: Details | None = None,
    profile: Profile | None = None,
    comparison: Comparison | None = None,
) -> Report:
    """The result as it is now, corrections, details and verdict with it, as a run of its own on record, and its
    report. The same result reported again, in another form perhaps, is the same run."""
    h = corrected.history
    details = details or Details()
    chosen = profile.to_json() if profile else ""
    same = digest(corrected.version, micrograph.calibration, found.settings, details.words(), chosen)
    run = describe(
        micrograph, found, summary, [c.to_dict() for c in h.log], h.marks, details=details.words(), job=corrected.job,
        profile=profile.name if profile else "", id=same,
    )  # fmt: skip
    table = corrected.table(micrograph.um_per_px)
    report = report_of(micrograph, found, table, summary, run, details, profile, comparison)
    part = report.parts[0]
    kept = Run.from_dict(record(queue().engine, part.run).body)
    return replace(report, parts=(replace(part, run=kept),))


def issue(report: Report, form: str, build: Callable[[Report], bytes]) -> bytes:
    """The report's file, on record as it is handed out."""
    runs = [part.run.id for part in report.parts]
    return put_report(queue().engine, runs, form, build(report), report.details.operator)


def instruments() -> dict[str, Instrument]:
    """Calibrations on record, by name."""
    return all_instruments(queue().engine)


def save_instrument(instrument: Instrument) -> None:
    """Put a calibration on record."""
    keep_instrument(queue().engine, instrument, st.session_state.get("who", ""))


def all_runs() -> list[Run]:
    """Every run on record, newest first."""
    return recorded(queue().engine)


def profiles() -> dict[str, Profile]:
    """The profiles on offer, by name."""
    return all_profiles(queue().engine)


def profile() -> Profile | None:
    """The profile that is worked with."""
    return profiles().get(st.session_state.get("profile") or "")


def default_profile(product: str | None) -> Profile | None:
    """What is used for a product unless another is chosen."""
    return default_of(queue().engine, product) if product else None


def corrected_elsewhere(job: str, choice: Instances) -> list[str]:
    """The thresholds, in words, for which there are corrections of this job that the present ones do not show."""
    names = dict.fromkeys(thresholds for thresholds, _ in correction_log(queue().engine, job))
    return [name for name in names if name != choice.name]


def digest(*parts: object) -> str:
    """A short key for caches."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
