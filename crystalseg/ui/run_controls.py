"""Widgets for runs: start, progress, cancel, and the frame of pages about a finished run."""

from collections.abc import Callable

import streamlit as st

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.methods import method_of
from crystalseg.segmentation.settings import Settings
from crystalseg.segmentation.tiling import TILE, looks
from crystalseg.ui import session, shared
from crystalseg.ui.image_controls import choose_micrographs
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse


def sidebar() -> None:
    """Show what every page except Measure has in its sidebar: the micrographs, and which settings apply."""
    with st.sidebar:
        choose_micrographs()
        st.caption(f"Set thresholds ({session.instances().words}) and border rule on the Measure page.")


def finished(item: session.Item) -> str | None:
    """Return the job of a result to show, or None after telling the user what to do."""
    job = item.shown()
    if job and job.active:
        watch(job.id)
        return None
    if job and job.status == "done" and shared.result(job.id) is not None:
        return job.id
    if job and job.status == "failed":
        refuse(job.error)
    st.info(
        f"{plain(item.original.name)} is not measured yet. Go to Measure and press Run.", icon=":material/straighten:"
    )
    return None


def result_page(title: str, caption: str, show: Callable[[session.Item, str], None]) -> None:
    """Draw a page about the micrograph's finished run; `show` draws the result of its job."""
    session.enter()
    sidebar()
    st.title(title)
    st.caption(caption)
    item = session.current()
    job = finished(item)
    if job is not None:
        st.subheader(plain(item.original.name))
        show(item, job)


def run_button(item: session.Item, micrograph: Micrograph | None, settings: Settings | None) -> None:
    """Show a button that starts a run, or the run in progress."""
    job = item.shown()
    if job and job.active:
        watch(job.id)
        return
    if job and job.status == "failed":
        refuse(job.error)
    elif job and job.status == "cancelled":
        st.warning("The run was cancelled.", icon=":material/stop_circle:")
    ready = micrograph is not None and settings is not None
    pressed = st.button("Run", type="primary", disabled=not ready, icon=":material/play_arrow:", key="run")
    if pressed and micrograph is not None and settings is not None:
        item.job = item.run(micrograph, settings)
        st.rerun()
    if micrograph is not None and settings is not None and method_of(settings.method).selects:
        st.caption(_cost(item, micrograph.shape, settings))


def _cost(item: session.Item, shape: tuple[int, int], settings: Settings) -> str:
    """Return the cost of a run on an (H, W) image: number of tiles, and duration judging by the last run."""
    whole, finer = settings.steps(shape)
    least = looks(shape, whole)
    most = least + looks(shape, finer)
    words = f"{least}" if least == most else f"{least} to {most}"
    depends = "" if least == most else ", depending on what it finds"
    text = f"Effort {settings.effort}: the network looks at {words} tiles of {TILE} px{depends}"
    seconds = _seconds_a_look(item)
    if seconds:
        times = f"{seconds * least:.0f}" if least == most else f"{seconds * least:.0f} to {seconds * most:.0f}"
        text += f". Judging by the last run, this takes about {times} s"
    return f"{text}."


def _seconds_a_look(item: session.Item) -> float | None:
    """Return the seconds per tile of the run shown, if it was made on this machine in this session."""
    kept = shared.result(item.job) if item.job and not item.opener else None
    if kept is None or not method_of(kept[1].settings.method).selects:
        return None
    micrograph, segmentation = kept
    whole, _ = segmentation.settings.steps(micrograph.shape)
    spent = sum(segmentation.timings.get(f"scale {factor:.3g}", 0.0) for factor in whole)
    return spent / looks(micrograph.shape, whole)


@st.fragment(run_every=1.0)
def watch(job_id: str) -> None:
    """Show the progress of a run, with a button to stop it."""
    job = shared.queue().job(job_id)
    if job is None or not job.active:
        st.rerun()
    waiting = [j.id for j in shared.queue().waiting()] if job.status == "queued" else []
    place = f"waiting: place {waiting.index(job_id) + 1} of {len(waiting)}" if job_id in waiting else ""
    words = place or job.stage
    bar, stop = st.columns((5, 1), vertical_alignment="center")
    bar.progress(min(job.share, 1.0), text=f"{words} · {100 * job.share:.0f} %")
    if stop.button("Cancel", icon=":material/stop_circle:", key=f"cancel {job_id}"):
        shared.queue().cancel(job_id)
