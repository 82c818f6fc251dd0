"""Series: measure the frames of one experiment, follow every crystal from frame to frame, and fit the growth law."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.execution import work
from crystalseg.execution.kinds import batch, series
from crystalseg.measurement.growth import GrowthError, activation
from crystalseg.measurement.rounding import significant
from crystalseg.measurement.series import Series, events_of, law_words
from crystalseg.measurement.track_corrections import TrackCorrection
from crystalseg.micrographs.decoding import FORMATS
from crystalseg.micrographs.frames import Moment, read_moments
from crystalseg.micrographs.headers import ENDINGS
from crystalseg.report.handouts import SERIES_HANDOUTS, Handout
from crystalseg.report.series import tracked
from crystalseg.ui import account, new_work, session, shared, work_progress
from crystalseg.ui.choices import number_field
from crystalseg.ui.downloads import offer_each
from crystalseg.ui.plain import plain
from crystalseg.ui.series_charts import events_chart, growth_chart, tracks_chart
from crystalseg.ui.telling import telling
from crystalseg.ui.viewer import Crystals, viewer


@telling()
def new() -> None:
    """Choose frames, their times, profile and pixel size, and start a series."""
    uploads = st.file_uploader(
        "Frames: a TIFF or OME-TIFF with several pages, images in the order of their names, or a ZIP file of images",
        accept_multiple_files=True,
        type=[*FORMATS, "zip", *ENDINGS],
    )
    path = st.text_input("Or a file or folder on this machine")
    left, right = st.columns(2)
    table = left.file_uploader(
        "Table of times (CSV, optional)",
        type=["csv", "txt"],
        help="Columns: time_s, time_min or time_h; temperature_C or temperature_K; image with the names of the frames. "
        "Without the column image, rows are in the order of the frames. Without a table, the times in the file are "
        "used. You can also type them once the series is measured.",
    )
    words = "If nothing else gives times."
    interval = number_field("Or seconds between frames", "series interval", place=right, help=words)
    channel = right.number_input("Channel", 1, value=None, step=1, help="If empty, the first is used.")
    profile, calibration, workers = new_work.choose("series", "Number of processes. Each needs 1 to 2 GB of memory.")
    if not st.button("Start", type="primary", icon=":material/play_arrow:", disabled=not (uploads or path)):
        return

    def prepare(folder: Path, source: Path) -> None:
        made = series.prepare(folder, source, profile, calibration, session.who(), interval or None, channel)
        if table is not None:
            series.set_moments(folder, read_moments(table.getvalue().decode("utf-8", "replace"), made.names))

    if new_work.begin("series", uploads, path, profile, workers, prepare):
        st.rerun()


def times(folder: Path) -> None:
    """Show the times and temperatures of the frames for editing."""
    known = series.moments(folder)
    with st.expander("Times and temperatures", expanded=known["seconds"].isna().any()):
        edited = st.data_editor(
            known,
            hide_index=True,
            disabled=["image"],
            key=f"times {folder.name}",
            column_config={
                "seconds": st.column_config.NumberColumn("time, s"),
                "celsius": st.column_config.NumberColumn("temperature, °C"),
            },
        )
        if st.button("Use these times", key=f"take {folder.name}", icon=":material/schedule:"):
            try:
                series.set_moments(folder, [Moment(row.seconds, row.celsius) for row in edited.itertuples()])
            except UserError as error:
                st.error(plain(error), icon=":material/block:")
                return
            st.rerun()


def numbers(found: Series) -> None:
    """Show the growth law and the number of tracks."""
    columns = st.columns(4)
    columns[0].metric("Frames", len(found.frames))
    whole = int((found.lengths == len(found.frames)).sum())
    columns[1].metric(
        "Crystals followed", len(found.lengths), help=f"{whole} of them from the first frame to the last."
    )
    if found.law is None:
        st.info(found.why, icon=":material/timeline:")
        return
    law = found.law
    columns[2].metric("Exponent n", f"{law.exponent:.2f}", help="2: boundaries move by their curvature. 3: ripening.")
    columns[3].metric("95 % interval of n", f"{law.exponent_low:.2f} – {law.exponent_high:.2f}")
    st.markdown(plain(law_words(law)))


def pictures(folder: Path, found: Series) -> None:
    """Show a frame with its tracks, and the growth curves."""
    count = len(found.frames)
    longest = found.lengths.sort_values(ascending=False, kind="stable").index.tolist()
    left, right = st.columns((2, 1))
    frame = left.slider("Frame", 1, count, 1, key=f"frame {folder.name}") - 1
    key = f"track {folder.name}"
    if f"chosen {folder.name}" in st.session_state:
        st.session_state[key] = st.session_state.pop(f"chosen {folder.name}")
    if st.session_state.get(key) not in longest:
        st.session_state[key] = 0  # a track may be gone by a correction
    only = right.selectbox(
        "Crystal",
        [0, *longest],
        format_func=lambda track: f"track {track}" if track else "all (click one to choose it)",
        key=key,
    )
    run = found.frames["run"].iloc[frame]
    pixels, labels, crystals = shared.frame(run)
    with left:
        shown = f"{run} {only} {len(series.corrections(folder, shared.engine()))}"
        answer = viewer(
            tracked(pixels, labels, found, frame, only),
            shown,
            found.frames["um_per_px"].iloc[frame] if found.unit == "µm" else None,
            [Crystals(labels, crystals, shown)],
            key=f"viewer {folder.name}",
        )
    if answer.selected:
        rows = found.tracks.crystals
        chosen = rows.loc[(rows["frame"] == frame) & (rows["id"] == answer.selected[0]), "track"]
        if len(chosen) and (run, answer.selected[0]) != st.session_state.get(f"picked {folder.name}"):
            st.session_state[f"picked {folder.name}"] = run, answer.selected[0]
            st.session_state[f"chosen {folder.name}"] = int(chosen.iloc[0])
            st.rerun()
    with right:
        correct(folder, found, frame, only)
    curves = found.curves
    right.plotly_chart(
        tracks_chart(curves[curves["track"].isin([only] if only else longest[:40])], found.unit),
        width="stretch",
        key=f"curves {folder.name}",
    )
    lineage = found.tracks.events
    of = lineage[(lineage["track"] == only) | (lineage["other"] == only)] if only else lineage
    right.dataframe(of.assign(frame=of["frame"] + 1), hide_index=True, height=200)


def correct(folder: Path, found: Series, frame: int, track: int) -> None:
    """Offer to cut a track before the frame shown, to join it with one that begins later, and to undo."""
    log = series.corrections(folder, shared.engine())
    with st.expander(f"Correct the tracks ({len(log)} corrections)" if log else "Correct the tracks"):
        who = account.name_box(f"who {folder.name}", "It is logged with each correction.", "needed to correct")
        rows = found.tracks.crystals
        own = rows[rows["track"] == track]
        here = own.loc[own["frame"] == frame, "id"]
        begins = rows.groupby("track")["frame"].min()
        ready = bool(who and len(own))
        change = None
        if st.button(
            "A different crystal from this frame on", disabled=not (ready and len(here)), key=f"cut {folder.name}"
        ):
            change = TrackCorrection("cut", frame, int(here.iloc[0]))
        last = int(own["frame"].max()) if len(own) else 0
        later = begins[begins > last].index.tolist() if len(own) else []
        onto = st.selectbox("Continues as", later, None, lambda t: f"track {t}", key=f"onto {folder.name}")
        if st.button("Join", disabled=not ready or onto is None, key=f"join {folder.name}"):
            first = rows[rows["track"] == onto].iloc[0]
            end = own[own["frame"] == last].iloc[0]
            change = TrackCorrection("join", int(first["frame"]), int(first["id"]), last, int(end["id"]))
        if st.button("Undo the last correction", disabled=not (log and who), key=f"undo {folder.name}"):
            series.undo(folder, shared.engine(), who)
            st.rerun()
        if change is not None:
            try:
                series.correct(folder, shared.engine(), change, who)
            except UserError as error:
                st.error(plain(error), icon=":material/block:")
                return
            st.rerun()
        for entry, one in reversed(log):
            st.caption(plain(f"{entry.created[:19].replace('T', ' ')} UTC, {entry.who}: {one.words}"))


def files(folder: Path, found: Series) -> None:
    """Offer the files of the series."""
    engine, who = shared.engine(), session.who()
    line = st.slider("Line of the kymograph, % from the top", 0, 99, 50, key=f"line {folder.name}")
    runs = found.frames["run"].tolist()

    def made(row: Handout) -> bytes:
        of = replace(series.followed(folder, engine, found, line), frame=lambda k: shared.frame(runs[k])[:2])
        return series.hand_out(engine, row, of, who)

    offer_each(SERIES_HANDOUTS.values(), made, f"series-{batch.load(folder).id}", 4, folder.name)


def results(folder: Path) -> None:
    """Show a series that was measured and followed."""
    given = st.segmented_control(
        "Exponent n", ["fitted", "2", "3", "4"], default="fitted", required=True, key=f"n {folder.name}"
    )
    found = series.load(folder, shared.engine(), None if given == "fitted" else float(given))
    numbers(found)
    times(folder)
    left, right = st.columns(2)
    left.plotly_chart(growth_chart(found), width="stretch", key=f"growth {folder.name}")
    events = events_of(found.tracks, len(found.frames))
    right.plotly_chart(events_chart(found.frames, events), width="stretch", key=f"events {folder.name}")
    pictures(folder, found)
    files(folder, found)


def arrhenius(folders: list[Path]) -> None:
    """Show the activation energy from series at several temperatures."""
    n = st.selectbox("Exponent n of all", [2.0, 3.0, 4.0], format_func=lambda n: f"{n:g}")
    rows = []
    for folder in folders:
        found = series.load(folder, shared.engine(), n)
        celsius = found.frames["celsius"].mean()
        if found.law is not None and np.isfinite(celsius):
            rows.append({"series": batch.load(folder).id, "temperature, °C": celsius, "K": found.law.rate})
    table = pd.DataFrame(rows)
    if len(table):
        st.dataframe(table, hide_index=True)
    try:
        energy = activation(*(table[c].tolist() if rows else [] for c in ("temperature, °C", "K")))
    except GrowthError as error:
        st.info(plain(error), icon=":material/thermostat:")
        return
    interval = f" (95 %: {significant(energy.low)} to {significant(energy.high)})" if np.isfinite(energy.low) else ""
    st.markdown(f"**Activation energy Q = {significant(energy.energy)} kJ/mol{interval}**, from K = K₀·exp(−Q/RT).")


def page() -> None:
    session.enter()
    st.title("Series")
    st.caption(
        "Measure the frames of one experiment, such as a heating stage. Drift is removed, and every crystal is "
        "followed. You get mean size against time, growth curves, births and merges, and the growth law "
        "dⁿ − d₀ⁿ = K·t."
    )
    works = work.works("series")
    with st.expander("New series", expanded=not works, icon=":material/add:"):
        new()
    for one in works:
        with st.container(border=True):
            st.markdown(f"**{plain(one.title)}**")
            for note in batch.load(one.folder).notes:
                st.caption(plain(note))
            if one.state(shared.engine()).status != "done":
                work_progress.show(one)
            elif st.toggle("Show", value=one is works[0], key=f"show {one.folder.name}"):
                results(one.folder)
    linked = [one.folder for one in works if series.is_linked(one.folder)]
    if len(linked) > 1:
        with st.expander("Activation energy from series at several temperatures", icon=":material/thermostat:"):
            arrhenius(linked)


page()
