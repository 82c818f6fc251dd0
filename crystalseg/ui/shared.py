"""Everything that all sessions share: the queue, the record, and results of runs held in memory."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg import environment
from crystalseg.errors import UserError
from crystalseg.execution import first_run
from crystalseg.execution.corrected import Corrected, reopen_corrected
from crystalseg.execution.decoder import Decoder
from crystalseg.execution.failure import failure
from crystalseg.execution.kinds import series
from crystalseg.execution.queue import Queue
from crystalseg.measurement.assessment import Assessment, assess
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.field import Field
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import ledger
from crystalseg.record.corrections import correction_log
from crystalseg.record.models import taught
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import Reopened, reopen
from crystalseg.record.runs import find
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances
from crystalseg.ui.entrance import THIS_MACHINE, signs_in
from crystalseg.ui.plain import plain


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    """Return the queue of runs."""
    return Queue()


@st.cache_resource(show_spinner=False)
def decoder() -> Decoder:
    """Return the process that decodes uploads."""
    return Decoder()


def engine() -> Engine:
    """Return the database of the record."""
    return queue().engine


@st.cache_resource(show_spinner=False)
def first_job() -> str:
    """Return the job of the example that the app shows first."""
    return first_run.first_job(queue())


def guarded(page: Callable[[], None]) -> None:
    """Run a page. Every failure is shown as one sentence, and a fault of the program is logged."""
    try:
        page()
    except Exception as error:
        st.error(plain(failure(error)), icon=":material/block:")


def server_path(text: str) -> Path:
    """Return a file or folder on the server that a visitor names. If nobody signs in and the app listens only to this
    machine, any path is allowed. With sign-in, a proxy on this machine may let others in, so the path must be in the
    folders of $CRYSTALSEG_FOLDERS, as on a server for others. UserError does not reveal whether it exists."""
    path = Path(text).expanduser()
    if st.get_option("server.address") in THIS_MACHINE and not signs_in():
        return path
    if any(path.resolve().is_relative_to(folder) for folder in environment.folders()):
        return path
    raise UserError("This server offers no such file or folder. Upload it, or ask whoever runs the server.")


def model(name: str) -> str:
    """Return the model that a visitor names: one that the cellpose package knows, or a path that may be read here."""
    return name if re.fullmatch(r"\w+", name) else str(server_path(name))


def is_missing(allowed: str) -> bool:
    """Return whether this machine lacks the file or folder of a model, as `model` returned it."""
    return not re.fullmatch(r"\w+", allowed) and not Path(allowed).exists()


def result(job: str) -> tuple[Micrograph, Segmentation] | None:
    """Return a finished job's micrograph and segmentation, or None while its files are missing. All sessions share the
    arrays; do not change them."""
    try:
        return _kept(job)
    except LookupError:
        return None  # not cached: the files may be computed meanwhile


@st.cache_resource(max_entries=4, show_spinner=False)
def _kept(job: str) -> tuple[Micrograph, Segmentation]:
    found = queue().result(job)
    if found is None:
        raise LookupError(job)
    return found


def finished(job: str) -> tuple[Micrograph, Segmentation]:
    """Like `result`, for a job whose files exist. Raises UserError if they were cleared in the meantime."""
    kept = result(job)
    if kept is None:
        raise UserError("The maps of this run were cleared to save space. Run it again.")
    return kept


def on_record(job: str) -> Reopened | None:
    """Return a job's run on record, to show while its maps are computed. None if there is none, or if it has
    corrections, which need the maps."""
    entries = ledger.entries(engine(), "run", job)
    if not entries or correction_log(engine(), job):
        return None
    return _reopened(job)


@st.cache_resource(max_entries=4, show_spinner=False)
def _reopened(job: str) -> Reopened:
    return reopen(find(engine(), job), with_image=False)


@st.cache_resource(max_entries=8, show_spinner=False)
def with_instances(job: str, choice: Instances) -> Segmentation:
    """Return the job's segmentation with these thresholds, from the kept maps. Loads torch only if they changed."""
    micrograph, segmentation = finished(job)
    if segmentation.settings.instances == choice:
        return segmentation
    from crystalseg.segmentation.models import load_judge
    from crystalseg.segmentation.pipeline import rethreshold

    judge = load_judge(segmentation.settings, taught(engine(), segmentation.settings))
    return rethreshold(segmentation, micrograph.pixels, choice, judge)


@st.cache_resource(max_entries=24, show_spinner=False)
def frame(run: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Like `series.frame`. All sessions share the arrays; do not change them."""
    return series.frame(engine(), run)


@st.cache_resource(max_entries=8, show_spinner=False)
def table(job: str, choice: Instances, um_per_px: float | None) -> pd.DataFrame:
    """Return the crystals of a job with these thresholds, without corrections."""
    segmentation = with_instances(job, choice)
    return measure_crystals(segmentation.labels, um_per_px, segmentation.confidence)


@st.cache_resource(max_entries=8, show_spinner=False)
def corrected(job: str, choice: Instances) -> Corrected:
    """Return the job's result with these thresholds and the corrections on record for them."""
    return reopen_corrected(engine(), job, with_instances(job, choice), finished(job)[0])


@st.cache_resource(max_entries=8, show_spinner=False)
def assessment(
    version: str,
    rule: str,
    calibration: Calibration | None,
    profile: Profile,
    validation: Validation | None,
    _field: Field,
) -> Assessment | None:
    """Return figures, uncertainty and verdict of a field; `version` identifies its labels."""
    uncertainty = calibration.uncertainty if calibration else None
    return assess([_field], rule, uncertainty, validation, profile.limits, profile.decision)
