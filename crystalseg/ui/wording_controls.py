"""A selection in any words, by a language model of the user's own: it becomes the filter in “Count only”."""

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.measurement.wording import filter_by_model
from crystalseg.ui import session, shared
from crystalseg.ui.choices import choices, kept
from crystalseg.ui.drafts import SettingsDraft
from crystalseg.ui.plain import plain


def ask_a_model(place: str, draft: SettingsDraft, item: session.Item | None) -> None:
    """Words and the folder of a model, which puts what it makes of them into the field “Count only” of the draft; it is
    shown the micrograph, if there is one."""
    problem = f"{place} wish problem"

    def ask() -> None:
        held = choices().fields
        words, folder = held.get(f"{place} wish", "").strip(), held.get(f"{place} wish model", "").strip()
        if not words or not folder:
            st.session_state[problem] = "Say what to count, and which model shall make a filter of it."
            return
        from crystalseg.segmentation.language import LanguageModel  # it loads torch

        try:
            model = LanguageModel(shared.server_path(folder), item.original.pixels if item else None)
            draft.put("only", filter_by_model(words, model.path.name, model))
        except UserError as error:
            st.session_state[problem] = str(error)

    with st.expander("In any words, by a language model of yours"):
        st.text_input("Wish", placeholder="leave out what looks like dirt", **kept(f"{place} wish", ""))
        st.text_input(
            "Folder of the model",
            help="On the computer that runs crystalseg, as from_pretrained of transformers reads it; a model that "
            "takes images too is shown this one. Nothing is downloaded. Its answer counts only if it is a filter, "
            "which then stands above, to be read and changed; the filter is what goes on record.",
            **kept(f"{place} wish model", ""),
        )
        st.button("Ask it for a filter", on_click=ask, icon=":material/translate:", key=f"{place} ask")
        if why := st.session_state.pop(problem, ""):
            st.error(plain(why), icon=":material/filter_alt_off:")
