"""Teach: teach a model one material from checked areas, watch it learn, validate it and keep it by name."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import work
from crystalseg.execution.kinds import lesson
from crystalseg.execution.work import Work
from crystalseg.micrographs.annotations import annotations_in, inside
from crystalseg.micrographs.label_images import NEGATIVE
from crystalseg.record import annotations, models
from crystalseg.record.models import Model
from crystalseg.segmentation.overlay import fit, outlined
from crystalseg.ui import next_fields, session, shared, teaching_controls, work_progress
from crystalseg.ui.charts import learning_chart
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain

SHIPPED = "the shipped weights"
THUMB_PX = 360


def labelled(material: str) -> list[annotations.RecordedAnnotation]:
    """Show the labelled images of a material, and let users add and remove some. Returns them."""
    kept = annotations.annotations(shared.engine(), material)
    crystals = sum(one.crystals for one in kept)
    st.subheader(f"Labelled images · {crystals} crystals checked" if kept else "Labelled images")
    if not kept:
        st.info(
            "Correct a part of an image on the Correct page and add it there, or upload label images below. A few "
            "areas of 20 crystals, in different images, are a start.",
            icon=":material/edit:",
        )
    columns = st.columns(4)
    for number, one in enumerate(kept):
        with columns[number % 4]:
            st.image(picture(one.image, one.labels, one.name), width="stretch")
            part = "" if one.share == 1 else f", {100 * one.share:.0f} % of the image"
            st.caption(plain(f"{one.name}: {one.crystals} crystals{part} · {one.source} · {one.who or 'not named'}"))
            if st.button("Remove", key=f"remove {one.key}", icon=":material/close:"):
                annotations.remove(shared.engine(), one.key, session.who())
                st.rerun()
    add_files(material)
    return kept


@st.cache_data(max_entries=64, show_spinner=False)
def picture(image: str, labels: str, name: str) -> np.ndarray:
    """Return an annotation as a small picture, uint8 (H, W, 3): checked crystals outlined, the rest dimmed."""
    one = annotations.read(name, (image, labels))
    shown = outlined(one.micrograph.pixels, inside(one.labels, one.checked))
    shown[~one.checked] //= 3
    return fit(shown, THUMB_PX)


def add_files(material: str) -> None:
    """Let users add images and label images from files."""
    with st.expander("Add label images", icon=":material/upload:"):
        given = st.file_uploader(
            "Images with their labels",
            ["png", "tif", "tiff"],
            accept_multiple_files=True,
            help="For each name.png, add name_label.png. If only a part is labelled, add name_checked.png, which is "
            "not 0 there.",
        )
        negative = st.checkbox(NEGATIVE, help="In label images. Otherwise such numbers are refused.")
        if not st.button("Add them", icon=":material/add:", disabled=not given):
            return
        try:
            decoder = shared.decoder()
            files = {file.name: file.getvalue() for file in given}
            found = annotations_in(files, read=decoder.read, read_label=partial(decoder.read_labels, negative=negative))
            for one in found:
                annotations.keep(shared.engine(), one, material, "label image uploaded", session.who())
                for note in one.micrograph.notes:
                    st.toast(plain(note), icon=":material/info:")
        except UserError as error:
            st.error(plain(error), icon=":material/block:")
            return
        st.rerun()


def learn(material: str, kept: list[annotations.RecordedAnnotation]) -> None:
    """Begin a lesson, or watch the one that is under way."""
    st.subheader("Learn")
    engine = shared.engine()
    left, middle, right = st.columns(3)
    name = left.text_input("Name of the model", material[:40], help="An existing name gets the next version.")
    before = {model.reference: model for model in models.models(engine)}
    parent = middle.selectbox("Start from", [SHIPPED, *before], help="A model that knows the material already.")
    minutes = right.number_input(
        "Minutes until it can be used",
        1.0,
        1440.0,
        10.0,
        help="Validation takes about as long again: the model is taught without each area in turn and scored there.",
    )
    try:
        folder = lesson.folder_of(name)
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    if lesson.KIND.is_in(folder):
        one = work.work_in(folder)
        state = work_progress.show(one)
        st.fragment(learnt_so_far, run_every=5.0 if state.is_active else None)(one)
        if state.status != "done":
            return
    if st.button("Learn", type="primary", icon=":material/school:", disabled=not kept):
        try:
            begun = lesson.prepare(
                engine, name, material, kept, "" if parent == SHIPPED else parent, minutes, session.who()
            )
        except UserError as error:
            st.error(plain(error), icon=":material/block:")
            return
        work.start(work.work_in(begun))
        st.rerun()


def learnt_so_far(one: Work) -> None:
    """Show the learning curves of a lesson, and its model once it can be used."""
    state = one.state(shared.engine())
    curves = {number: lesson.learning_curve(one.folder, number) for number in range(max(1, state.total))}
    shown = {number: table for number, table in curves.items() if len(table)}
    if shown:
        st.plotly_chart(learning_chart(shown), width="stretch", key=f"curve {one.id}")
    if state.made and state.status != "done":
        st.success(plain(f"Model {state.made} can be used. It is now being validated."), icon=":material/check:")


def kept_models(material: str) -> None:
    """Show the models on record for a material: their scores, two side by side, and their files."""
    st.subheader("Models")
    engine = shared.engine()
    retired = st.toggle("Show retired models")
    offered = [m for m in models.models(engine, retired) if m.material in (material, "")]
    with st.expander("Import a model", icon=":material/upload:"):
        bring()
        share()
    if not offered:
        st.caption("There is no model for this material yet.")
        return
    rows = [(m.reference, m.words, m.parent or SHIPPED, m.who, m.created[:16], m.retired) for m in offered]
    st.dataframe(
        pd.DataFrame(rows, columns=["model", "score", "started from", "made by", "UTC", "retired"]), hide_index=True
    )
    names = {m.reference: m for m in offered}
    chosen = st.multiselect("Show one model, or two side by side", list(names), list(names)[:1], max_selections=2)
    for column, name in zip(st.columns(max(1, len(chosen))), chosen, strict=False):
        with column:
            look(names[name])


def look(model: Model) -> None:
    """Show everything on record about one model."""
    engine = shared.engine()
    st.markdown(f"**{plain(model.reference)}** · {plain(model.verdict)}")
    st.table(pd.DataFrame(model.rows(), columns=["what", "value"]).set_index("what"))
    if model.curve:
        table = pd.DataFrame(model.curve)
        shown = {int(part): rows for part, rows in table.groupby("part")} if "part" in table else {0: table}
        st.plotly_chart(learning_chart(shown), width="stretch", key=f"curve of {model.reference}")
    if model.scores and model.scores.get("rows"):
        st.dataframe(pd.DataFrame(model.scores["rows"]), hide_index=True)
    left, right = st.columns(2)
    offer(
        left,
        "Export",
        lambda: exported(model.reference),
        f"{model.reference.replace(':', '-')}.safetensors",
        icon=":material/download:",
        help="One file with the weights and everything on record about the model. It is read without executing code.",
    )
    words = "Put it back in use" if model.retired else "Retire"
    if right.button(words, key=f"retire {model.reference}", help="Runs that it made can still be computed again."):
        models.retire(engine, model.reference, session.who(), again=model.retired)
        st.rerun()


def exported(reference: str) -> bytes:
    """Return a model as one file."""
    from crystalseg.execution import model_files

    return model_files.exported(models.find(shared.engine(), reference))


def bring() -> None:
    """Let users import a model from a file: one exported elsewhere, or a Cellpose model."""
    file = st.file_uploader("An exported model, or a Cellpose 2 or 3 model file")
    if file is None or not st.button("Put it on record", icon=":material/add:"):
        return
    from crystalseg.execution import model_files

    try:
        made = model_files.imported(shared.engine(), file.getvalue(), file.name, who=session.who())
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    st.success(plain(f"Model {made.reference} is on record: {made.words}."), icon=":material/check:")


def share() -> None:
    """Let users exchange models through a folder that several machines can reach."""
    place = st.text_input(
        "Or a folder that several machines share",
        help="Models in the folder are imported here, and models in use here are copied to the folder.",
    ).strip()
    if not st.button("Share models through it", icon=":material/sync:", disabled=not place):
        return
    from crystalseg.execution import model_files

    try:
        done = model_files.exchange(shared.engine(), shared.server_path(place), session.who())
    except UserError as error:
        st.error(plain(error), icon=":material/block:")
        return
    st.success(plain(done.words), icon=":material/check:")
    for why in done.refused:
        st.error(plain(why), icon=":material/block:")


def page() -> None:
    session.enter()
    st.title("Teach")
    st.caption("Teach a model your material: check a few areas, let it learn, see how good it is, and use it by name.")
    material = teaching_controls.choose_material("teach material", first=True)
    if not material:
        st.info("Name a material first.", icon=":material/label:")
        return
    learning, nexts, kept = st.tabs(["Learn", "What to label next", "Models"], key="teach tabs", on_change="rerun")
    with learning:
        learn(material, labelled(material))
    with nexts:
        if nexts.open:  # it reads the latest images, so only when the tab is open
            next_fields.show(material)
    with kept:
        kept_models(material)


page()
