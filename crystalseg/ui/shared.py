"""What all sessions share: the queue, the record, and results of runs held in memory."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from sqlalchemy import Engine

from crystalseg import environment
from crystalseg.errors import UserError
from crystalseg.execution import first_run, series
from crystalseg.execution.corrected import Corrected, reopen_corrected
from crystalseg.execution.decoder import Decoder
from crystalseg.execution.failure import failure
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
from crystalseg.ui.plain import plain


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    """The queue of runs."""
    return Queue()


@st.cache_resource(show_spinner=False)
def decoder() -> Decoder:
    """What reads uploads."""
    return Decoder()


def engine() -> Engine:
    """The record."""
    return queue().engine


@st.cache_resource(show_spinner=False)
def first_job() -> str:
    """The run of the example that is there when the app opens."""
    return first_run.first_job(queue())


def guarded(page: Callable[[], None]) -> None:
    """Run a page; whatever goes wrong is told in one sentence, and a fault of the program is logged."""
    try:
        page()
    except Exception as error:
        st.error(plain(failure(error)), icon=":material/block:")


def server_path(text: str) -> Path:
    """A file or folder of the server's machine that a visitor names: any, where the app listens to this machine only,
    else one below the folders that $CRYSTALSEG_FOLDERS names. UserError says so, whatever is there."""
    path = Path(text).expanduser()
    if st.get_option("server.address") in ("localhost", "127.0.0.1", "::1"):
        return path
    if any(path.resolve().is_relative_to(folder) for folder in environment.folders()):
        return path
    raise UserError("This server offers no such file or folder: upload it, or ask whoever runs the server.")


def model(name: str) -> str:
    """A model that a visitor names: one that the cellpose package knows, or a file or folder that may be read here."""
    return name if re.fullmatch(r"\w+", name) else str(server_path(name))


def is_missing(allowed: str) -> bool:
    """Whether this machine has no file or folder of a model, as `model` gave it."""
    return not re.fullmatch(r"\w+", allowed) and not Path(allowed).exists()


def result(job: str) -> tuple[Micrograph, Segmentation] | None:
    """A finished job's micrograph and segmentation, shared by all sessions: do not change the arrays. None as long as
    its files are not there."""
    try:
        return _kept(job)
    except LookupError:
        return None  # and asked for again the next time: they may be computed meanwhile


@st.cache_resource(max_entries=4, show_spinner=False)
def _kept(job: str) -> tuple[Micrograph, Segmentation]:
    found = queue().result(job)
    if found is None:
        raise LookupError(job)
    return found


def finished(job: str) -> tuple[Micrograph, Segmentation]:
    """As `result`, of a job whose files are there; UserError if they were cleared meanwhile."""
    kept = result(job)
    if kept is None:
        raise UserError("The maps of this run were cleared to save space: run it again.")
    return kept


def on_record(job: str) -> Reopened | None:
    """A job's run as it is on record, to look at while its maps are computed; None if there is none, or if corrections
    were made to it, which need the maps."""
    entries = ledger.entries(engine(), "run", job)
    if not entries or correction_log(engine(), job):
        return None
    return _reopened(job)


@st.cache_resource(max_entries=4, show_spinner=False)
def _reopened(job: str) -> Reopened:
    return reopen(find(engine(), job), with_image=False)


@st.cache_resource(max_entries=8, show_spinner=False)
def with_instances(job: str, choice: Instances) -> Segmentation:
    """The job's segmentation with these thresholds, from the kept maps; torch is loaded only if they changed."""
    micrograph, segmentation = finished(job)
    if segmentation.settings.instances == choice:
        return segmentation
    from crystalseg.segmentation.models import load_judge
    from crystalseg.segmentation.pipeline import rethreshold

    judge = load_judge(segmentation.settings, taught(engine(), segmentation.settings))
    return rethreshold(segmentation, micrograph.pixels, choice, judge)


@st.cache_resource(max_entries=24, show_spinner=False)
def frame(run: str) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """As `series.frame`, shared by all sessions: do not change the arrays."""
    return series.frame(engine(), run)


@st.cache_resource(max_entries=8, show_spinner=False)
def table(job: str, choice: Instances, um_per_px: float | None) -> pd.DataFrame:
    """The crystals of a job with these thresholds, as the method found them."""
    segmentation = with_instances(job, choice)
    return measure_crystals(segmentation.labels, um_per_px, segmentation.confidence)


@st.cache_resource(max_entries=8, show_spinner=False)
def corrected(job: str, choice: Instances) -> Corrected:
    """The job's result with these thresholds and the corrections on record for them."""
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
    """Figures, uncertainty and verdict of a field whose labels `version` names."""
    uncertainty = calibration.uncertainty if calibration else None
    return assess([_field], rule, uncertainty, validation, profile.limits)
