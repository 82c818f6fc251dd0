"""Measure: from a micrograph to outlined crystals, their size distribution and a report."""

import time
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from crystalseg.execution.corrected import Corrected, corrected_elsewhere, hand_out
from crystalseg.measurement.assessment import Assessment
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.field import Field
from crystalseg.measurement.measurement import Measurement
from crystalseg.measurement.rounding import at_most
from crystalseg.measurement.uncertainty import Budget
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import file_stem
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import Reopened
from crystalseg.record.store import digest
from crystalseg.record.validations import lookup
from crystalseg.report.handouts import HANDOUTS, Handout
from crystalseg.report.words import EXPANDED, corrections_words, rounded, size_rows, with_unit
from crystalseg.segmentation.methods import LADDERS
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from crystalseg.ui import image_controls, large_images, run_controls, session, settings_controls, shared
from crystalseg.ui.assessment_widgets import by_standard, verdict
from crystalseg.ui.charts import distribution_chart
from crystalseg.ui.choices import choices, kept
from crystalseg.ui.details import choose_details
from crystalseg.ui.downloads import offer_each
from crystalseg.ui.plain import plain
from crystalseg.ui.viewer import Crystals, Shown, viewer


def welcome() -> None:
    with st.container(border=True):
        st.markdown(
            "Measure crystals and grains in micrographs, even if their sizes differ 50-fold. "
            "**Below is an example, measured already.** To measure your own:"
        )
        steps = st.columns(3)
        steps[0].markdown("**1 · Upload** a micrograph on the left: PNG, JPEG, BMP or TIFF.")
        steps[1].markdown("**2 · Check the pixel size**, then press **Run**.")
        steps[2].markdown("**3 · Check** the outlines, correct mistakes, and **download** the report.")


def header(item: session.Item) -> None:
    height, width = item.original.shape
    st.subheader(plain(item.original.name))
    st.caption(" · ".join([f"{width} × {height} px", *map(plain, item.original.notes)]))


def prepare(item: session.Item, settings: Settings | None) -> Micrograph | None:
    calibration = item.original.calibration
    pixel = f"{at_most(calibration.um_per_px)} µm per pixel" if calibration else "no pixel size: sizes are in pixels"
    area = "part of the image" if item.region or (item.bar is not None and item.exclude_bar) else "whole image"
    with st.expander(f"Pixel size, region, scales: {pixel}, {area}", icon=":material/straighten:"):
        size, region, seen = st.tabs(["Pixel size", "Region and data bar", "What each scale sees"])
        with size:
            has_size = image_controls.choose_pixel_size(item)
        with region:
            micrograph = image_controls.choose_region(item)
        with seen:
            if micrograph is not None and settings is not None and settings.method in LADDERS:
                settings_controls.preview_scales(micrograph, settings)
            else:
                st.caption("This method has no ladder of scales.")
    if item.bar is not None and item.exclude_bar:
        st.info(
            f"A data bar was found at the lower edge. Rows from {item.bar} on are left out.", icon=":material/crop:"
        )
    return micrograph if has_size else None


def figures(summary: Summary, budgets: Mapping[str, Budget]) -> None:
    """Show the main figures, each value rounded to the digits of its uncertainty."""
    size, wide = rounded(budgets["mean"])
    columns = st.columns(5)
    columns[0].metric("Average crystal size", with_unit(size, summary.unit), help="Mean equivalent circular diameter.")
    said = "Expanded uncertainty of the average size. ≥: part of it is unknown. See Figures by standard for the budget."
    columns[1].metric(EXPANDED, wide if wide == "not known" else with_unit(wide, summary.unit), help=said)
    columns[2].metric("D50 by number", with_unit(rounded(budgets["d50"])[0], summary.unit))
    columns[3].metric("D50 by area", with_unit(rounded(budgets["d50_area"])[0], summary.unit))
    columns[4].metric("Crystals counted", f"{summary.counted} of {summary.found}", help="See the border rule.")


def distribution(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> None:
    left, right = st.columns(2)
    weighting = left.segmented_control("Weighting", ("number", "area"), **kept("weighting", "number")) or "number"
    axis = right.segmented_control("Diameter axis", ("logarithmic", "linear"), **kept("axis", "logarithmic"))
    st.plotly_chart(distribution_chart(crystals, shape, rule, weighting, axis != "linear"), width="stretch")


def crystals_table(crystals: pd.DataFrame, selected: int, version: str) -> int:
    """Show the table of a result, identified by its version. Returns the id of the chosen row, or 0."""
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
        key=f"table {version}",  # in another result, rows are other crystals
    )
    rows = chosen.selection.rows
    return int(crystals.iloc[rows[0]]["id"]) if rows and rows[0] < len(crystals) else 0


def downloads(micrograph: Micrograph, corrected: Corrected, measuring: Measuring) -> None:
    """Offer the report in its forms, and the result for other programs."""
    profile = session.profile()
    details = choose_details(micrograph.sha256, profile)

    def made(row: Handout) -> bytes:
        validation = lookup(profile, corrected.segmentation(measuring).settings)
        return hand_out(row, corrected, micrograph, measuring, validation, details, profile)

    offer_each(HANDOUTS.values(), made, file_stem(micrograph.name))


def results(item: session.Item, job: str, choice: Instances, measuring: Measuring) -> None:
    """Show the finished run: figures, outlines, verdict, and the tabs below."""
    if shared.result(job) is None:
        st.warning(
            "The maps of this run were cleared to save space. Run it again.", icon=":material/cleaning_services:"
        )
        return
    micrograph = item.measured()
    corrected = shared.corrected(job, choice)
    shown = f"{corrected.version} {micrograph.um_per_px} {measuring.only}"
    measurement = corrected.measurement(micrograph.um_per_px, measuring)
    field = Field(corrected.history.labels, measurement.crystals, micrograph.um_per_px, micrograph.name)
    found = corrected.segmentation(measuring)
    version = f"{corrected.version} {measuring.only}"
    assessed = _assessed(field, version, found.settings, found.hashes, micrograph.calibration)
    if measurement.summary is None or assessed is None:
        st.warning(
            "No crystal is counted. If the outlines below show none, lower the foreground threshold. If all touch the "
            "border, choose the border rule that includes them. If a selection excludes all, change it.",
            icon=":material/search:",
        )
    else:
        figures(measurement.summary, assessed.budgets)
    for words in corrected_elsewhere(shared.engine(), job, choice):
        st.info(
            f"Corrections were made with other thresholds ({words}). Set these to see them.", icon=":material/edit:"
        )
    if corrected.history.log:
        st.caption(f"With {corrections_words(corrected.history.log)}.")
    picked = item.place("row", shown)
    answer = viewer(
        micrograph.pixels,
        job,
        micrograph.um_per_px,
        [Crystals(corrected.history.labels, measurement.crystals, shown)],
        Shown(picked=picked),
        key=f"result {job}",
    )
    selected = answer.selected[0] if answer.selected else 0
    chosen = tabs(micrograph, corrected, measurement, measuring, field, assessed, selected, digest(shown))
    if chosen and chosen != (picked or {}).get("ids", [0])[0]:
        item.go_to("row", shown, {"token": time.time_ns() // 1000, "ids": [chosen]})
        st.rerun()


def on_record(kept: Reopened, micrograph: Micrograph) -> None:
    """Show the result on record of a run while its maps are computed."""
    st.caption("These figures are on record. Other thresholds, corrections and reports need the maps, which follow.")
    run, crystals = kept.run, kept.measurement.crystals
    field = Field(kept.labels, crystals, run.um_per_px, run.image_name)
    assessed = _assessed(field, run.id, run.chosen, run.hashes, run.calibration)
    if kept.measurement.summary is not None and assessed is not None:
        figures(kept.measurement.summary, assessed.budgets)
    shown = [Crystals(kept.labels, crystals, kept.run.id)]
    viewer(micrograph.pixels, kept.run.id, kept.run.um_per_px, shown, key=f"kept {kept.run.id}")
    distribution(crystals, kept.labels.shape, kept.run.chosen.measuring.border_rule)


def _assessed(
    field: Field, version: str, settings: Settings, hashes: dict[str, str], calibration: Calibration | None
) -> Assessment | None:
    """Figures and verdicts of a field whose labels `version` names; None if no crystal counts."""
    profile = session.profile() or Profile("none")
    validation = lookup(profile, settings)
    if validation is not None:
        validation = validation.of(settings.conditions, hashes)
    return shared.assessment(version, settings.measuring.border_rule, calibration, profile, validation, field)


def tabs(
    micrograph: Micrograph,
    corrected: Corrected,
    measurement: Measurement,
    measuring: Measuring,
    field: Field,
    assessment: Assessment | None,
    selected: int,
    shown: str,
) -> int:
    """Show the verdict, and the tabs below the image of the result `shown`. Returns the id of the crystal chosen in the
    table, or 0."""
    crystals, rule = measurement.crystals, measuring.border_rule
    if assessment is not None and assessment.verdicts:
        verdict(assessment)
    sizes, standards, rows, files = st.tabs(
        ["Size distribution", "Figures by standard", "Crystals", "Report and files"], key="tabs", on_change="rerun"
    )
    with standards:
        if standards.open and assessment is not None:
            by_standard(assessment, field, micrograph.pixels)
    with sizes:
        if measurement.summary is not None and assessment is not None:
            distribution(crystals, micrograph.shape, rule)
            told = size_rows(measurement.summary, assessment.budgets["mean"])
            st.table(pd.DataFrame(told, columns=["figure", "value"]).set_index("figure"))
    with rows:
        chosen = crystals_table(crystals, selected, shown)
    with files:
        downloads(micrograph, corrected, measuring)
    return chosen


def page() -> None:
    session.enter()
    draft = choices().settings
    with st.sidebar:
        image_controls.choose_micrographs()
        large_images.choose()
        item = session.current()
        st.header("Method", divider="gray")
        settings_controls.choose_profile()
        method = settings_controls.choose_method("measure", draft)
        scales = settings_controls.choose_scales("measure", draft)
        st.header("Crystals", divider="gray")
        choice = settings_controls.choose_instances("measure", draft)
        measuring = settings_controls.choose_measuring("measure", draft, item)
    st.title("Measure crystals")
    if large_images.show():
        return
    settings = None
    if method is not None and scales is not None:
        settings = Settings(method, scales, choice, measuring, draft.shown("network"), draft.shown("effort"))
    if item.opener:
        welcome()
    header(item)
    micrograph = prepare(item, settings)
    run_controls.run_button(item, micrograph, settings)
    job = item.shown()
    kept = shared.on_record(job.id) if job and job.active else None
    if job and job.status == "done":
        results(item, job.id, choice, measuring)
    elif kept is not None and micrograph is not None:
        on_record(kept, micrograph)
    elif micrograph is not None:
        viewer(micrograph.pixels, digest(item.key, micrograph.region), micrograph.um_per_px, key="preview")


page()
