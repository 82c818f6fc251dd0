"""A selection in any words, by a language model of the user's own: it becomes the filter in “Count only”."""

from pathlib import Path

import streamlit as st

from crystalseg.measurement.query import QueryError
from crystalseg.ui import session
from crystalseg.ui.plain import plain


def ask_a_model() -> None:
    """Words and the folder of a model, which puts what it makes of them into the field “Count only”."""
    with st.expander("In any words, by a language model of yours"):
        st.text_input("Wish", key="wish", placeholder="leave out what looks like dirt")
        st.text_input(
            "Folder of the model",
            key="wish model",
            help="On the computer that runs crystalseg, as from_pretrained of transformers reads it; a model that "
            "takes images too is shown this one. Nothing is downloaded. Its answer counts only if it is a filter, "
            "which then stands above, to be read and changed; the filter is what goes on record.",
        )
        st.button("Ask it for a filter", on_click=_ask, icon=":material/translate:")
        if problem := st.session_state.pop("wish problem", ""):
            st.error(plain(problem), icon=":material/filter_alt_off:")


def _ask() -> None:
    held = st.session_state
    if not held["wish"].strip() or not held["wish model"].strip():
        held["wish problem"] = "Say what to count, and which model shall make a filter of it."
        return
    from crystalseg.segmentation.wording import filter_by_model  # it loads torch

    item = session.current()
    try:
        held["only"] = filter_by_model(
            held["wish"], Path(held["wish model"].strip()), item.original.pixels if item else None
        )
    except QueryError as error:
        held["wish problem"] = str(error)
