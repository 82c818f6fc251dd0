"""Suggest what to label next among the runs on record: crops, each with a button that opens it on the Correct page."""

import numpy as np
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.evaluation.acquisition import FieldOffer, Seen, offers
from crystalseg.record import annotations, index, runs
from crystalseg.record.reopening import reopen
from crystalseg.segmentation.overlay import outlined
from crystalseg.ui import session, shared
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import telling

AT_HAND = 20  # number of latest runs to search


def show(material: str) -> None:
    """Show the fields of the latest runs whose labels would teach a material most."""
    engine = shared.engine()
    latest = index.runs(engine, most=AT_HAND)
    st.caption(
        "These parts of recent images hold the crystals that are least certain and least similar to labelled ones. "
        "Correct a part, mark it as checked, and add it."
    )
    if latest.empty:
        st.info("Measure an image first.", icon=":material/straighten:")
        return
    named = dict(zip(latest["run"], latest["image"], strict=True))
    images = st.multiselect("Images", list(named), list(named)[:8], format_func=lambda run: f"{named[run]} · {run}")
    if not images:
        return
    taught = tuple(one.files for one in annotations.annotations(engine, material))
    found = best(tuple(images), taught)
    if not found:
        st.info("None of the images has three or more crystals close together.", icon=":material/search:")
        return
    st.markdown(f"All of them take about **{sum(offer.minutes for offer in found):.0f} minutes of your time**.")
    columns = st.columns(3)
    for number, offer in enumerate(found):
        with columns[number % 3]:
            one(offer, named[offer.key])


def one(offer: FieldOffer, name: str) -> None:
    """Show a field, with a button to correct it."""
    st.image(crop(offer.key, offer.box), width="stretch")
    st.caption(
        plain(f"{name}: {offer.crystals} crystals, about {offer.wrong:.0f} of them wrong, {offer.minutes:.0f} min")
    )
    if st.button("Correct this part", key=f"field {offer.key} {offer.box}", icon=":material/edit:"):
        with telling():
            item = session.take_up(runs.find(shared.engine(), offer.key))
            place = {"token": f"{offer.key} {offer.box}", "id": 0, "box": list(map(float, offer.box))}
            item.go_to("field", item.job, place)
            st.switch_page("pages/correct.py")


@st.cache_data(max_entries=8, show_spinner="Searching the images…")
def best(images: tuple[str, ...], taught: tuple[tuple[str, str], ...]) -> list[FieldOffer]:
    """Return the fields of these runs to label next; `taught` are the files that are already labelled."""
    seen = []
    for run in images:
        reopened = _reopened(run)
        if reopened is not None:
            seen.append(reopened)
    labelled = []
    for files in taught:
        known = annotations.read("", files)
        y, x = np.nonzero(known.checked)
        labelled.append(known.micrograph.pixels[y.min() : y.max() + 1, x.min() : x.max() + 1])
    return offers(seen, labelled)


@st.cache_data(max_entries=64, show_spinner=False)
def crop(run: str, box: tuple[int, int, int, int]) -> np.ndarray:
    """Return a field with its crystals outlined."""
    seen = _reopened(run)
    assert seen is not None  # only reopened runs are offered
    cut = slice(box[0], box[2]), slice(box[1], box[3])
    return outlined(seen.pixels[cut], seen.labels[cut])


def _reopened(run: str) -> Seen | None:
    """Return the image of a run and its crystals, or None if the image was not kept or cannot be read."""
    try:
        reopened = reopen(runs.find(shared.engine(), run))
    except UserError:
        return None
    if reopened.micrograph is None:
        return None
    return Seen(run, reopened.micrograph.pixels, reopened.labels, reopened.confidence)
