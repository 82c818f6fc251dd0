"""Compare: the same image under several methods, against each other and against a label image."""

from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from crystalseg.evaluate.difference import NAMES, difference
from crystalseg.layers import Layer
from crystalseg.measure.agreement import bland_altman
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.distribution import cumulative, sizes_and_weights, summarise
from crystalseg.micrograph import Micrograph, MicrographError, decode_labels
from crystalseg.report.comparison import Compared, Comparison, compare
from crystalseg.report.pdf import build_pdf
from crystalseg.settings import METHODS, PACKAGE, Settings, SettingsError
from crystalseg.ui import controls, state
from crystalseg.ui.viewer import Crystals, Shown, viewer
from crystalseg.view import CATEGORIES

GIVEN = "label image given"


def choose_methods() -> list[str]:
    """Methods by name; the user's own Cellpose model as `cellpose-package:FILE`."""
    named = [m for m in METHODS if m != PACKAGE]
    chosen = st.multiselect(
        "Methods",
        named,
        ["sima-plus", "cellpose-original"],
        help="The first one is what the others are compared with. " + " · ".join(f"{m}: {METHODS[m]}" for m in named),
    )
    own = st.text_input(
        "Your own Cellpose model", help="A model file, or a name the cellpose package knows; it must be installed here."
    )
    return [*chosen, *([f"{PACKAGE}:{own.strip()}"] if own.strip() else [])]


def label_image(micrograph: Micrograph) -> np.ndarray | None:
    """The user's label image of this micrograph, cut as it was; None, with the reason shown, if unusable."""
    given = st.file_uploader(
        "Label image (optional)", ["png", "tif", "tiff"], help="0 = background, each crystal its own number. Then PQ, "
        "AJI and size errors are shown for every method.",
    )  # fmt: skip
    if given is None:
        return None
    try:
        labels = decode_labels(given.getvalue(), given.name)
    except MicrographError as error:
        st.error(str(error), icon=":material/block:")
        return None
    if micrograph.region and labels.shape != micrograph.shape:
        top, left, bottom, right = micrograph.region
        labels = labels[top:bottom, left:right]
    if labels.shape != micrograph.shape:
        sizes = [f"{w} × {h} px" for h, w in (labels.shape, micrograph.shape)]
        st.error(f"{given.name} has {sizes[0]}, the image {sizes[1]}: give labels of the same image.")
        return None
    return labels


def ensure_runs(item: state.Item, methods: list[str]) -> list[str]:
    """Offer to run what is missing; returns the methods that are done."""
    done, missing = [], []
    for method in methods:
        job = state.queue().look(item.runs[method]) if method in item.runs else None
        if job and job.active:
            controls.watch(job.id)
        elif job and job.status == "done" and state.queue().has_result(job.id):
            done.append(method)
        else:
            if job and job.status == "failed":
                st.error(f"{method}: {job.error}", icon=":material/block:")
            missing.append(method)
    if missing and st.button(f"Run {', '.join(missing)}", type="primary", icon=":material/play_arrow:"):
        micrograph = item.prepared()
        for method in missing:
            try:
                item.run(micrograph, Settings(method, instances=state.instances(), measuring=state.measuring()))
            except SettingsError as error:
                st.error(str(error), icon=":material/block:")
        st.rerun()
    return done


def collected(item: state.Item, methods: list[str], um_per_px: float | None) -> list[Compared]:
    """The results to compare; the method shown on the other pages with its corrections."""
    results = []
    for method in methods:
        job = item.runs[method]
        corrected = state.corrected(job, state.instances())
        name = f"{method}, corrected" if corrected.history.log else method
        seconds = float(sum(state.result(job)[1].timings.values()))
        results.append(Compared(name, corrected.history.labels.copy(), corrected.table(um_per_px), seconds))
    return results


def distributions(compared: list[Compared], rule: str) -> None:
    chart = go.Figure()
    unit = "px"
    for k, one in enumerate(compared):
        sizes, weights, _, unit = sizes_and_weights(one.crystals, one.labels.shape, rule)
        if len(sizes):
            ordered, q = cumulative(sizes, weights)
            chart.add_scatter(
                x=ordered, y=100 * q, name=one.name, line={"shape": "hv", "color": f"rgb{CATEGORIES[1 + k % 8]}"}
            )
    chart.update_layout(
        xaxis={"title": f"equivalent circular diameter, {unit}", "type": "log"},
        yaxis={"title": "cumulative share by number, %", "range": [0, 101]},
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=380,
    )
    st.plotly_chart(chart, width="stretch")


def tables(comparison: Comparison) -> None:
    for heading, table in comparison.tables.items():
        st.markdown(f"**{heading}**")
        numbers = st.column_config.NumberColumn(format="%.4g")
        columns = dict.fromkeys(table.select_dtypes("float").columns, numbers)
        st.dataframe(table, hide_index=True, column_config=columns)


def several_images(first: str, second: str) -> None:
    """Agreement of two methods over all images of the session that both have measured."""
    rows = []
    for item in state.items().values():
        values = []
        for method in (first, second):
            job = item.runs.get(method)
            if job and state.queue().has_result(job) and state.queue().look(job).status == "done":
                micrograph = state.result(job)[0]
                um = item.original.um_per_px
                table = state.corrected(job, state.instances()).table(um)
                summary = summarise(table, micrograph.shape, state.measuring().border_rule)
                values.append((summary.average.value, summary.unit) if summary else (np.nan, ""))
        if len(values) == 2 and not any(np.isnan(v) for v, _ in values):
            rows.append((item.original.name, values[0][0], values[1][0], values[0][1]))
    table = pd.DataFrame(rows, columns=["image", first, second, "unit"])
    if len(table) < 2:
        st.info("Measure two or more images with both methods to see how they agree.", icon=":material/info:")
        return
    if table["unit"].nunique() > 1:
        st.warning("Some images have a pixel size and some have none: give it for all, or for none.")
        return
    unit = table["unit"].iloc[0]
    found = bland_altman(table[first].to_numpy(), table[second].to_numpy())
    chart = go.Figure()
    chart.add_scatter(x=found.mean, y=found.difference, mode="markers", text=table["image"], marker={"size": 10})
    for value, words, dash in (
        (found.bias, "bias", "solid"), (found.limits[0], "95 % limit", "dash"), (found.limits[1], "95 % limit", "dash")
    ):  # fmt: skip
        chart.add_hline(value, line_dash=dash, annotation_text=f"{words} {value:.3g} {unit}")
    chart.update_layout(
        xaxis_title=f"mean of both average crystal sizes, {unit}", yaxis_title=f"{second} − {first}, {unit}",
        margin={"t": 20, "b": 10}, height=380,
    )  # fmt: skip
    st.plotly_chart(chart, width="stretch")
    low, high = found.bias_interval
    st.caption(f"Bias {found.bias:.3g} {unit} (95 % CI {low:.3g} to {high:.3g}); Bland and Altman, Lancet 1986.")
    st.dataframe(table, hide_index=True)


def report(item: state.Item, method: str, micrograph: Micrograph, comparison: Comparison) -> None:
    def pdf() -> bytes:
        corrected = state.corrected(item.runs[method], state.instances())
        found = corrected.segmentation()
        rule = state.measuring().border_rule
        table = corrected.table(micrograph.um_per_px)
        summary = summarise(table, micrograph.shape, rule)
        found = replace(found, settings=replace(found.settings, measuring=state.measuring()))
        made = state.put_on_record(
            corrected, micrograph, found, summary, profile=state.profile(), comparison=comparison
        )
        return state.issue(made, "PDF", build_pdf)

    stem = micrograph.name.rsplit(".", 1)[0]
    st.download_button("PDF report with this comparison", pdf, f"{stem}_comparison.pdf", "application/pdf")


def result(item: state.Item) -> None:
    micrograph = replace(item.prepared(), calibration=item.original.calibration)
    left, right = st.columns(2)
    with left:
        methods = choose_methods()
    with right:
        truth = label_image(micrograph)
    done = ensure_runs(item, methods)
    compared = collected(item, done, micrograph.um_per_px)
    names = [one.name for one in compared]
    if truth is not None:
        compared.insert(0, Compared(GIVEN, truth, measure_crystals(truth, micrograph.um_per_px)))
    if len(compared) < 2:
        st.info("Choose two methods, or one and a label image, and run them.", icon=":material/compare:")
        return
    reference = compared[0]
    other = st.selectbox("Difference map: crystals of this method", [one.name for one in compared[1:]])
    found = difference(reference.labels, next(one.labels for one in compared if one.name == other))
    legend = [(CATEGORIES[k], f"{name}: {found.counts[name]}") for k, name in enumerate(NAMES, start=1)]
    layer = Layer(f"difference: {other} against {reference.name}", found.map, "categories", tuple(legend))
    versions = [state.digest(one.name, item.key, hash(one.labels.tobytes())) for one in compared]
    viewer(
        micrograph.pixels,
        state.digest(item.key, micrograph.region),
        micrograph.um_per_px,
        [
            Crystals(one.labels, one.crystals.assign(confidence=one.crystals.get("confidence", np.nan)), v, one.name)
            for one, v in zip(compared, versions, strict=True)
        ],
        Shown(
            layers=[layer],
            layers_key=state.digest(versions, other),
            arrangements=("side", "swipe", "one"),
            reports=False,
        ),
        key=f"compare {item.key}",
    )
    rule = state.measuring().border_rule
    comparison = compare(compared, rule, truth)
    tables(comparison)
    distributions(compared, rule)
    if done:
        report(item, done[0], micrograph, comparison)
    if len(names) > 1:
        st.subheader("Over several images")
        several_images(done[0], done[1])


def page() -> None:
    state.preserve()
    controls.sidebar()
    st.title("Compare")
    item = state.current()
    if item is None:
        st.info("Upload a micrograph on the left, or choose a sample.", icon=":material/upload:")
        return
    st.subheader(item.original.name)
    result(item)


page()
