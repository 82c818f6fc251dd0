"""Make a selection from any words with the user's own language model; the result is the filter in “Count only”."""

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.measurement.wording import filter_by_model
from crystalseg.ui import session, shared
from crystalseg.ui.choices import choices, kept
from crystalseg.ui.drafts import SettingsDraft
from crystalseg.ui.plain import plain


def ask_a_model(place: str, draft: SettingsDraft, item: session.Item | None) -> None:
    """Show fields for words and the folder of a model, which writes its filter into the field “Count only” of the
    draft. The model also gets the micrograph, if there is one."""
    problem = f"{place} wish problem"

    def ask() -> None:
        held = choices().fields
        words, folder = held.get(f"{place} wish", "").strip(), held.get(f"{place} wish model", "").strip()
        if not words or not folder:
            st.session_state[problem] = "Say what to count, and which model should make the filter."
            return
        from crystalseg.segmentation.language import LanguageModel  # importing it loads torch

        try:
            model = LanguageModel(shared.server_path(folder), item.original.pixels if item else None)
            draft.put("only", filter_by_model(words, model.path.name, model))
        except UserError as error:
            st.session_state[problem] = str(error)

    with st.expander("In your own words, with your own language model"):
        st.text_input("Wish", placeholder="leave out what looks like dirt", **kept(f"{place} wish", ""))
        st.text_input(
            "Folder of the model",
            help="A folder on the computer that runs crystalseg, as from_pretrained of transformers reads it. A model "
            "that takes images also gets this micrograph. Nothing is downloaded. Its answer is only used if it is a "
            "filter, which you can then read and change above. The filter goes on record.",
            **kept(f"{place} wish model", ""),
        )
        st.button("Ask the model for a filter", on_click=ask, icon=":material/translate:", key=f"{place} ask")
        if why := st.session_state.pop(problem, ""):
            st.error(plain(why), icon=":material/filter_alt_off:")
