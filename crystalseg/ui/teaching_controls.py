"""Widgets for teaching: the material, and what was checked in an image."""

import numpy as np
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution.corrected import Corrected
from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import checked
from crystalseg.record.annotations import annotations, keep
from crystalseg.record.models import models
from crystalseg.ui import session, shared
from crystalseg.ui.plain import plain


def materials() -> list[str]:
    """Return the materials that something was labelled or taught for."""
    engine = shared.engine()
    named = [one.material for one in annotations(engine)] + [model.material for model in models(engine, retired=True)]
    return [name for name in dict.fromkeys(named) if name]


def choose_material(key: str, first: bool = False) -> str:
    """Choose a material, known or new; "" while there is none. The initial choice is that of another page, or the
    `first` material."""
    held = st.session_state
    known = materials()
    wanted = held.get("material")
    if key not in held and wanted in known:
        held[key] = wanted
    name = st.selectbox(
        "Material",
        known,
        index=0 if known and first else None,
        key=key,
        accept_new_options=True,
        placeholder="a name, such as: fused magnesia",
        help="What is taught together. Type a name to start a new material.",
    )
    held["material"] = (name or "").strip()
    return held["material"]


def add_checked(corrected: Corrected, micrograph: Micrograph, who: str) -> None:
    """Let the user add the checked areas, or the whole image, to what is taught for a material."""
    engine = shared.engine()
    areas = checked.polygons(engine, corrected.job)
    st.markdown("**Teach a model with this**")
    if areas:
        words = f"{len(areas)} area{'s' if len(areas) > 1 else ''} checked."
        st.caption(f"{words} Nothing else in the image is learnt.")
        if st.button("Clear the areas", icon=":material/ink_eraser:", disabled=not who):
            checked.clear(engine, corrected.job, who)
            st.rerun()
    else:
        st.caption("Drag around a part with the tool *checked* (R) once every crystal in it is right. Start with 20.")
    whole = not areas and st.checkbox("The whole image is right", key=f"all checked {corrected.job}")
    material = choose_material("correct material")
    ready = bool((areas or whole) and material and who)
    if not st.button("Add to the labelled images", icon=":material/school:", disabled=not ready):
        return
    labels = corrected.history.labels
    marked = np.isin(labels, list(corrected.history.marks))
    try:
        one = annotation(micrograph, np.where(marked, 0, labels), checked.mask(areas, labels.shape) if areas else None)
        kept = keep(engine, one, material, f"run {corrected.job}, corrected", session.who())
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    st.success(
        plain(f"{kept.crystals} crystals of {kept.name} teach {material}. Continue on the Teach page."),
        icon=":material/check:",
    )
