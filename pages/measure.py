"""Measure: a micrograph in, outlined crystals, their size distribution and a report out."""

import time
from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from crystalseg.measure.assessment import Assessment
from crystalseg.measure.distribution import Summary, cumulative, histogram, sizes_and_weights, summarise
from crystalseg.measure.figures import Field
from crystalseg.measure.intercept import Pattern, lines_with_counts
from crystalseg.micrograph import Micrograph
from crystalseg.profiles import Profile
from crystalseg.report.export import crystals_csv, labels_tiff
from crystalseg.report.html import build_html
from crystalseg.report.outlines import coco, geojson, imagej_rois
from crystalseg.report.pdf import PAGES, build_pdf
from crystalseg.report.sample import Details, Report
from crystalseg.report.words import (
    VERDICT_COLUMNS,
    corrections_words,
    figure_rows,
    size_rows,
    uncertainty,
    verdict_rows,
)
from crystalseg.report.workbook import build_workbook
from crystalseg.segmentation import Segmentation
from crystalseg.settings import LADDERS, Instances, Measuring, Settings
from crystalseg.ui import controls, state
from crystalseg.ui.viewer import Crystals, Shown, viewer
from crystalseg.view import fit, outlined, with_test_lines

TEST_LINES_PX = 1200  # longest side of the picture of the test lines


def welcome() -> None:
    with st.container(border=True):
        st.markdown(
            "Measure crystals and grains in micrographs, also where their sizes differ 50-fold. "
            "**Below is a sample, measured already.** For your own:"
        )
        steps = st.columns(3)
        steps[0].markdown("**1 · Upload** a micrograph on the left: PNG, JPEG, BMP or TIFF.")
        steps[1].markdown("**2 · Check the pixel size**, then press **Run**.")
        steps[2].markdown("**3 · Look** at the outlines, put mistakes right, **download** the report.")


def header(item: state.Item) -> None:
    height, width = item.original.shape
    st.subheader(item.original.name)
    st.caption(" · ".join([f"{width} × {height} px", *item.original.notes]))


def prepare(item: state.Item, settings: Settings | None) -> Micrograph | None:
    known = item.original.calibration
    pixel = f"{known.um_per_px:.4g} µm per pixel" if known else "no pixel size: sizes are in pixels"
    area = "part of the image" if item.region or (item.bar is not None and item.exclude_bar) else "whole image"
    with st.expander(f"Pixel size, region, scales: {pixel}, {area}", icon=":material/straighten:"):
        size, region, seen = st.tabs(["Pixel size", "Region and data bar", "What each scale sees"])
        with size:
            controls.choose_pixel_size(item)
        with region:
            micrograph = controls.choose_region(item)
        with seen:
            if micrograph is not None and settings is not None and settings.method in LADDERS:
                controls.preview_scales(micrograph, settings)
            else:
                st.caption("This method has no ladder of scales.")
    if item.bar is not None and item.exclude_bar:
        st.info(
            f"A data bar was found at the lower edge; rows from {item.bar} on are left out.", icon=":material/crop:"
        )
    return micrograph


def figures(summary: Summary) -> None:
    average, unit = summary.average, summary.unit
    columns = st.columns(5)
    columns[0].metric("Average crystal size", f"{average.value:.4g} {unit}", help="Mean equivalent circular diameter.")
    interval = f"{average.low:.3g} – {average.high:.3g}" if np.isfinite(average.low) else "one crystal"
    columns[1].metric("95 % interval", interval, help="Bootstrap over the crystals counted.")
    columns[2].metric("D50 by number", f"{summary.number[1]:.4g} {unit}")
    columns[3].metric("D50 by area", f"{summary.area[1]:.4g} {unit}")
    columns[4].metric("Crystals counted", f"{summary.counted} of {summary.found}", help="See the border rule.")


def distribution(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> None:
    left, right = st.columns(2)
    weighting = left.segmented_control("Weighting", ("number", "area"), default="number") or "number"
    axis = right.segmented_control("Diameter axis", ("logarithmic", "linear"), default="logarithmic") or "logarithmic"
    sizes, weights, areas, unit = sizes_and_weights(crystals, shape, rule)
    if weighting == "area":
        weights = weights * areas
    edges, share = histogram(sizes, weights, axis == "logarithmic")
    ordered, q = cumulative(sizes, weights)
    middle = np.sqrt(edges[:-1] * edges[1:]) if axis == "logarithmic" else (edges[:-1] + edges[1:]) / 2
    hover = [
        f"{a:.4g} to {b:.4g} {unit}: {100 * s:.1f} %" for a, b, s in zip(edges[:-1], edges[1:], share, strict=True)
    ]
    chart = go.Figure()
    if axis == "logarithmic":  # bar widths on a logarithmic axis are not even: draw steps
        x, y = np.repeat(edges, 2), np.concatenate(([0], np.repeat(100 * share, 2), [0]))
        chart.add_scatter(x=x, y=y, fill="tozeroy", mode="lines", name="share, %", line={"width": 1}, hoverinfo="skip")
        chart.add_scatter(
            x=middle, y=100 * share, mode="markers", marker={"opacity": 0}, hovertext=hover, hoverinfo="text",
            showlegend=False,
        )  # fmt: skip
    else:
        chart.add_bar(x=middle, y=100 * share, width=np.diff(edges), name="share, %", hovertext=hover, hoverinfo="text")
    chart.add_scatter(
        x=ordered, y=100 * q, yaxis="y2", name="cumulative, %", line={"color": "#c1550b", "shape": "hv"},
        hovertemplate="%{y:.1f} % up to %{x:.4g} " + unit + "<extra></extra>",
    )  # fmt: skip
    chart.update_layout(
        xaxis={"title": f"equivalent circular diameter, {unit}", "type": "log" if axis == "logarithmic" else "linear"},
        yaxis={"title": f"share by {weighting}, %", "rangemode": "tozero"},
        yaxis2={
            "title": "cumulative, %",
            "overlaying": "y",
            "side": "right",
            "range": [0, 102],
            "tickvals": [0, 25, 50, 75, 100],
            "showgrid": False,
        },
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=420,
    )
    st.plotly_chart(chart, width="stretch")


def crystals_table(crystals: pd.DataFrame, selected: int) -> int:
    """The table; returns the id of the row chosen, 0 for none."""
    if selected:
        st.dataframe(crystals[crystals["id"] == selected], hide_index=True)
    numbers = st.column_config.NumberColumn(format="%.4g")
    chosen = st.dataframe(
        crystals,
        hide_index=True,
        height=420,
        column_config=dict.fromkeys(crystals.select_dtypes("float").columns, numbers),
        on_select="rerun",
        selection_mode="single-row",
        key="table",
    )
    rows = chosen.selection.rows
    return int(crystals.iloc[rows[0]]["id"]) if rows and rows[0] < len(crystals) else 0


OUTCOMES = {"pass": ":material/check_circle:", "fail": ":material/cancel:", "not decidable": ":material/help:"}


def verdict(found: Assessment) -> None:
    """The verdict on the profile's limits, and why."""
    show = {"pass": st.success, "fail": st.error}.get(found.outcome, st.warning)
    show(f"**{found.outcome.upper()}** against the profile's limits", icon=OUTCOMES[found.outcome])
    st.table(pd.DataFrame(verdict_rows(found.verdicts), columns=list(VERDICT_COLUMNS)).set_index("limit"))


def test_lines(field: Field, pixels: np.ndarray) -> None:
    """The lines and circles of the intercept methods, drawn, and what each counted."""
    picture = outlined(pixels, field.labels)
    for column, pattern in zip(st.columns(2), get_args(Pattern), strict=True):
        found = field.intercepts(pattern)
        column.image(fit(with_test_lines(picture, found), TEST_LINES_PX), width="stretch")
        mean = f", mean {found.mean:.4g} px" if found.count else ""
        column.caption(f"{pattern}: {found.count:g} crystals on {found.length:.0f} px{mean}")
        rows = pd.DataFrame(lines_with_counts(found), columns=["line", "crystals", "length inside crystals, px"])
        column.dataframe(rows, hide_index=True, height=200)


def by_standard(found: Assessment, field: Field, pixels: np.ndarray) -> None:
    """Figures by standard with their uncertainty, and the budget."""
    for note in found.notes:
        st.info(note, icon=":material/info:")
    rows = figure_rows(list(found.budgets.values()))
    st.dataframe(
        pd.DataFrame(rows, columns=["figure", "value", "U (k = 2)", "computed with"]), hide_index=True, height=420
    )
    if not all(b.complete for b in found.budgets.values()):
        st.caption("≥: a part of the uncertainty is not known, see below.")
    if st.toggle("Show the test lines and circles as they were counted"):
        test_lines(field, pixels)
    with st.expander("Uncertainty budget", icon=":material/balance:"):
        parts = [
            (b.figure.words, c.source, "not known" if c.standard is None else uncertainty(b, c.standard), c.kind, c.how)
            for b in found.budgets.values()
            for c in b.components
        ]
        columns = ["figure", "source", "u", "type", "from"]
        st.dataframe(pd.DataFrame(parts, columns=columns), hide_index=True)
        st.caption(
            "Segmentation: choose a profile that names the kind of material, and validate the method on labelled "
            "images of it (python -m crystalseg validate). Calibration: state the uncertainty of the pixel size."
        )


def downloads(
    micrograph: Micrograph,
    found: Segmentation,
    crystals: pd.DataFrame,
    summary: Summary | None,
    corrected: state.Corrected,
) -> None:
    with st.form("details", border=False):
        columns = st.columns(3)
        sample = columns[0].text_input("Sample")
        material = columns[1].text_input("Material")
        operator = columns[2].text_input("Operator")
        customer = columns[0].text_input("Customer")
        laboratory = columns[1].text_input("Laboratory")
        company = columns[2].text_input("Company")
        received = columns[0].text_input("Date received")
        paper = columns[1].selectbox("Paper", list(PAGES))
        logo = columns[2].file_uploader("Logo", type=["png", "jpg"], help="For the head of the report.")
        remarks = st.text_area("Remarks", height=70)
        st.form_submit_button("Apply to the report")
    details = Details(
        sample, material, customer, laboratory, operator, remarks, paper, company, received,
        logo=logo.getvalue() if logo else b"",
    )  # fmt: skip

    def report() -> Report:
        return state.put_on_record(corrected, micrograph, found, summary, details, state.profile())

    stem = micrograph.name.rsplit(".", 1)[0]
    labels = found.labels
    files = (
        ("PDF report", lambda: state.issue(report(), "PDF", build_pdf), "report.pdf", "application/pdf"),
        ("HTML report", lambda: state.issue(report(), "HTML", build_html), "report.html", "text/html"),
        ("Excel workbook", lambda: state.issue(report(), "Excel", build_workbook), "report.xlsx",
         "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("Crystals CSV", lambda: crystals_csv(crystals), "crystals.csv", "text/csv"),
        ("Labels TIFF", lambda: labels_tiff(labels, micrograph.um_per_px), "labels.tif", "image/tiff"),
        ("ImageJ ROIs", lambda: imagej_rois(labels), "rois.zip", "application/zip"),
        ("GeoJSON", lambda: geojson(labels, crystals), "crystals.geojson", "application/geo+json"),
        ("COCO JSON", lambda: coco(labels, crystals, micrograph.name), "coco.json", "application/json"),
        ("Settings JSON", found.settings.to_json(), "settings.json", "application/json"),
    )  # fmt: skip
    columns = st.columns(3)
    for k, (words, data, ending, kind) in enumerate(files):
        main = "primary" if k == 0 else "secondary"
        columns[k % 3].download_button(words, data, f"{stem}_{ending}", kind, type=main, width="stretch")


def results(item: state.Item, choice: Instances, measuring: Measuring) -> None:
    job = item.job
    kept = state.result(job)
    if kept is None:
        st.warning(
            "The maps of this run were cleared to save space: run it again.", icon=":material/cleaning_services:"
        )
        return
    # The pixel size may have been given after the run.
    micrograph = replace(kept[0], calibration=item.original.calibration)
    corrected = state.corrected(job, choice)
    log = list(corrected.history.log)
    found = corrected.segmentation()
    found = replace(found, settings=replace(found.settings, measuring=measuring))
    crystals = corrected.table(micrograph.um_per_px)
    summary = summarise(crystals, micrograph.shape, measuring.border_rule)
    if summary is None:
        st.warning(
            "No crystal counts. If the outlines below show none, lower the foreground threshold; if all touch the "
            "border, choose the border rule that includes them.",
            icon=":material/search:",
        )
    else:
        figures(summary)
    for words in state.corrected_elsewhere(job, choice):
        st.info(
            f"Corrections were made with other thresholds ({words}); set these to see them.", icon=":material/edit:"
        )
    if log:
        st.caption(f"With {corrections_words(log)}.")
    answer = viewer(
        micrograph.pixels,
        job,
        micrograph.um_per_px,
        [Crystals(corrected.history.labels, crystals, f"{corrected.version} {micrograph.um_per_px}")],
        Shown(picked=st.session_state.get("picked")),
        key=f"result {job}",
    )
    profile = state.profile() or Profile("none")

    field = Field(found.labels, crystals, micrograph.um_per_px, micrograph.name)

    def assessed() -> Assessment | None:
        return state.assessment(corrected.version, found.settings, micrograph.calibration, profile, field)

    if profile.limits and (judged := assessed()) is not None:
        verdict(judged)
    sizes, standards, rows, files = st.tabs(
        ["Size distribution", "Figures by standard", "Crystals", "Report and files"], key="tabs", on_change="rerun"
    )
    with standards:
        # the bootstrap takes most of a second: only for who looks at it
        if standards.open and (figured := assessed()) is not None:
            by_standard(figured, field, micrograph.pixels)
    with sizes:
        if summary is not None:
            distribution(crystals, micrograph.shape, measuring.border_rule)
            st.table(pd.DataFrame(size_rows(summary), columns=["figure", "value"]).set_index("figure"))
    with rows:
        chosen = crystals_table(crystals, answer.selected[0] if answer.selected else 0)
    with files:
        downloads(micrograph, found, crystals, summary, corrected)
    if chosen and chosen != st.session_state.get("row"):
        st.session_state["row"] = chosen
        st.session_state["picked"] = {"token": time.time_ns() // 1000, "ids": [chosen]}
        st.rerun()


def page() -> None:
    state.preserve()
    with st.sidebar:
        controls.choose_micrographs()
        st.header("Method", divider="gray")
        controls.choose_profile()
        method = controls.choose_method()
        scales = controls.choose_scales(method) if method else None
        st.header("Crystals", divider="gray")
        choice = controls.choose_instances()
        measuring = controls.choose_measuring()
    st.title("Measure crystals")
    item = state.current()
    settings = Settings(method, scales, choice, measuring) if scales else None
    if item.opener:
        welcome()
    header(item)
    micrograph = prepare(item, settings)
    controls.run_button(item, micrograph, settings)
    job = state.queue().look(item.job) if item.job else None
    if job and job.status == "done":
        results(item, choice, measuring)
    elif micrograph is not None:
        viewer(micrograph.pixels, state.digest(item.key, micrograph.region), micrograph.um_per_px, key="preview")


page()
