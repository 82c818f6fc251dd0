"""One click, one crystal: the clicks of a session on the Correct page, and its images as the network sees them."""

import threading
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import streamlit as st

from crystalseg.execution.corrected import Corrected
from crystalseg.record.store import now
from crystalseg.segmentation.corrections.correction import CorrectionError

if TYPE_CHECKING:  # importing it loads torch
    from crystalseg.segmentation.corrections.clicks import Network, Seen

_KEY = "clicks"
LARGEST = 32_000_000  # px; the network's view of an image takes 19 bytes per pixel


@cache
def _network() -> "Network | None":
    """Return the network, or None if it has no weights."""
    from crystalseg.segmentation.models import load_clicks

    return load_clicks()


@st.cache_resource(max_entries=2, show_spinner=False)
def _seen(job: str, _corrected: Corrected) -> "Future[Seen]":
    """Start to prepare a job's image for the network in the background, so that the first click is as fast as
    others."""
    seen: Future[Seen] = Future()

    def make() -> None:
        from crystalseg.segmentation.corrections.clicks import Seen

        evidence = _corrected.history.evidence
        try:
            _network()
            seen.set_result(Seen.of(evidence.pixels, evidence.scales))
        except Exception as error:  # passed on to the caller of the future
            seen.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    return seen


def prepare(corrected: Corrected) -> None:
    """Start to prepare what clicks will need."""
    if corrected.history.labels.size <= LARGEST:
        _seen(corrected.job, corrected)


def click(corrected: Corrected, edit: dict, who: str) -> None:
    """Draw the crystal under a click, or refine it, as `edit["role"]` says. Raises CorrectionError if nothing is found
    or no network is available."""
    from crystalseg.segmentation.corrections.clicks import Clicks

    network = _network()
    if network is None:
        raise CorrectionError("There are no weights for clicks (weights/clicks.safetensors). Use add or draw instead.")
    if corrected.history.labels.size > LARGEST:
        raise CorrectionError(f"Images of more than {LARGEST / 1e6:.0f} megapixels take no clicks. Use add or draw.")

    point = tuple(edit["points"][0])
    result = corrected.job, corrected.choice
    where, clicks = st.session_state.get(_KEY, (None, Clicks()))
    role = edit.get("role", "new")
    if role == "new":
        clicks = Clicks(edit["ids"][0] if edit["ids"] else 0, (point,))
    else:
        known = clicks if where == result else Clicks()
        clicks = replace(known, **{role: (*getattr(known, role), point)})
    labels = corrected.history.labels
    correction = clicks.correction(labels, _seen(corrected.job, corrected).result(), network)
    corrected.do(replace(correction, who=who, when=now()))
    number = clicks.number or len(corrected.history.confidence)
    st.session_state[_KEY] = result, replace(clicks, number=number)


def forget() -> None:
    """Let the next click start a new crystal."""
    st.session_state.pop(_KEY, None)
