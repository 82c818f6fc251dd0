"""Compare: the same image by several methods, against each other and against a label image."""

from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.evaluation.comparison import Compared, Comparison, compare
from crystalseg.evaluation.difference import NAMES, difference
from crystalseg.execution.corrected import put_on_record
from crystalseg.execution.result import issue_report
from crystalseg.measurement.agreement import bland_altman
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.micrographs.label_images import NEGATIVE
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import file_stem
from crystalseg.record.models import models
from crystalseg.record.store import digest
from crystalseg.record.validations import lookup
from crystalseg.report.handouts import HANDOUTS
from crystalseg.report.report import Details
from crystalseg.segmentation.colormap import CATEGORIES
from crystalseg.segmentation.diagnostics import Layer
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.methods import METHODS, NAMED, networks_in
from crystalseg.segmentation.settings import Measuring, Settings
from crystalseg.ui import run_controls, session, shared
from crystalseg.ui.charts import agreement_chart, cumulative_chart
from crystalseg.ui.choices import kept
from crystalseg.ui.downloads import offer
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse, telling
from crystalseg.ui.viewer import Crystals, Shown, viewer

GIVEN = "label image given"


def choose_methods(item: session.Item) -> list[str]:
    """Choose methods by name, the method of the run shown first. SiMA+ with another flow network or a model on record
    is named `sima-plus@NETWORK`, with less effort `sima-plus/quick`, and the user's own model `cellpose-package:FILE`
    or `hub:FOLDER`."""
    explained = " · ".join(f"{name}: {METHODS[name].words}" for name in NAMED)
    ways = [name for name, method in METHODS.items() if method.model]
    measured = [name for name in item.runs if name.partition(":")[0] not in ways]
    offered = [
        *NAMED,
        *(f"sima-plus/{effort}" for effort in EFFORTS if effort != Settings.effort),
        *(f"sima-plus@{network}" for network in networks_in() if network != Settings.network),
        *(f"sima-plus@{model.setting}" for model in models(shared.engine())),
        *measured,
    ]
    shown = next((name for name in measured if item.runs[name] == item.job), "sima-plus")
    chosen = st.multiselect(
        "Methods",
        list(dict.fromkeys(offered)),
        help="The others are compared with the first one. " + explained,
        **kept(f"compared {item.key}", list(dict.fromkeys([shown, "cellpose-original"])), offered),
    )
    way, place = st.columns(2)
    kinds = way.multiselect(
        "Your own model is",
        ways,
        help=" · ".join(f"{n}: {METHODS[n].words}" for n in ways),
        **kept("compared own kinds", ways[:1]),
    )
    own = place.text_input(
        "Your own model",
        help=" · ".join(f"{n}: {METHODS[n].model}" for n in ways),
        **kept("compared own model", ""),
    ).strip()
    if own:
        with telling():
            return [*chosen, *(f"{kind}:{shared.model(own)}" for kind in kinds)]
    return chosen


@telling()
def label_image(micrograph: Micrograph) -> np.ndarray | None:
    """Return the user's label image of this micrograph, cropped like it, or None after showing why it is unusable."""
    given = st.file_uploader(
        "Label image (optional)",
        ["png", "tif", "tiff"],
        help="0 = background, and a number for each crystal. Then PQ, AJI and size errors of every method are shown.",
    )
    if given is None:
        return None
    negative = st.checkbox(NEGATIVE, **kept("compared negative", False))
    read = shared.decoder().read_labels(given.getvalue(), given.name, negative)
    for note in read.notes:
        st.caption(plain(note))
    labels = read.labels
    if micrograph.region and labels.shape != micrograph.shape:
        top, left, bottom, right = micrograph.region
        labels = labels[top:bottom, left:right]
    if labels.shape != micrograph.shape:
        sizes = [f"{w} × {h} px" for h, w in (labels.shape, micrograph.shape)]
        refuse(f"{given.name} has {sizes[0]}, but the image has {sizes[1]}. Give labels of the same image.")
        return None
    return labels


def ensure_runs(item: session.Item, methods: list[str]) -> list[str]:
    """Offer to run the missing methods. Returns the methods that are done."""
    done, missing = [], []
    for method in methods:
        job = shared.queue().job(item.runs[method]) if method in item.runs else None
        if job and job.active:
            run_controls.watch(job.id)
        elif job and job.status == "done" and shared.queue().has_result(job.id):
            done.append(method)
        else:
            if job and job.status == "failed":
                refuse(f"{method}: {job.error}")
            missing.append(method)
    if missing and st.button(f"Run {plain(', '.join(missing))}", type="primary", icon=":material/play_arrow:"):
        micrograph = item.prepared()
        for method in missing:
            with telling():
                chosen = Settings.called(method, instances=session.instances(), measuring=session.measuring())
                item.run(micrograph, chosen, method)
        st.rerun()
    return done


def collected(item: session.Item, methods: list[str], um_per_px: float | None) -> list[Compared]:
    """Return the results to compare. The method shown on the other pages includes its corrections."""
    results = []
    for method in methods:
        job = item.runs[method]
        corrected = shared.corrected(job, session.instances())
        name = f"{method}, corrected" if corrected.history.log else method
        seconds = float(sum(shared.finished(job)[1].timings.values()))
        results.append(Compared(name, corrected.history.labels.copy(), corrected.table(um_per_px), seconds))
    return results


def tables(comparison: Comparison) -> None:
    for heading, table in comparison.tables.items():
        st.markdown(f"**{plain(heading)}**")
        numbers = st.column_config.NumberColumn(format="%.4g")
        columns = dict.fromkeys(table.select_dtypes("float").columns, numbers)
        st.dataframe(table, hide_index=True, column_config=columns)


def several_images(first: str, second: str) -> None:
    """Show the agreement of two methods over all images of the session measured by both."""
    rows = []
    for item in session.items().values():
        values = []
        for method in (first, second):
            job = shared.queue().job(item.runs[method]) if method in item.runs else None
            if job and job.status == "done" and shared.queue().has_result(job.id):
                corrected = shared.corrected(job.id, session.instances())
                rule = Measuring(session.measuring().border_rule)
                summary = corrected.measurement(item.original.um_per_px, rule).summary
                values.append((summary.average.value, summary.unit) if summary else (np.nan, ""))
        if len(values) == 2 and not any(np.isnan(v) for v, _ in values):
            rows.append((item.original.name, values[0][0], values[1][0], values[0][1]))
    table = pd.DataFrame(rows, columns=["image", first, second, "unit"])
    if len(table) < 2:
        st.info("Measure two or more images with both methods to see how they agree.", icon=":material/info:")
        return
    if table["unit"].nunique() > 1:
        st.warning("Some images have a pixel size and some have none. Set it for all images, or for none.")
        return
    unit = table["unit"].iloc[0]
    agreement = bland_altman(table[first].to_numpy(), table[second].to_numpy())
    st.plotly_chart(agreement_chart(agreement, table["image"], first, second, unit), width="stretch")
    low, high = agreement.bias_interval
    st.caption(f"Bias {agreement.bias:.3g} {unit} (95 % CI {low:.3g} to {high:.3g}); Bland and Altman, Lancet 1986.")
    st.dataframe(table, hide_index=True)


def report(item: session.Item, method: str, micrograph: Micrograph, comparison: Comparison) -> None:
    def pdf() -> bytes:
        corrected = shared.corrected(item.runs[method], session.instances())
        profile = session.profile()
        validation = lookup(profile, corrected.segmentation(session.measuring()).settings)
        details = Details(operator=session.who())
        recorded = put_on_record(
            corrected, micrograph, session.measuring(), validation, details, profile, comparison=comparison
        )
        return issue_report(shared.engine(), row, recorded)

    row, stem = HANDOUTS["pdf"], file_stem(micrograph.name)
    offer(st, f"{row.words} with this comparison", pdf, f"{stem}_comparison_{row.ending}", row.media_type)


def result(item: session.Item) -> None:
    micrograph = replace(item.prepared(), calibration=item.original.calibration)
    left, right = st.columns(2)
    with left:
        methods = choose_methods(item)
    with right:
        truth = label_image(micrograph)
    done = ensure_runs(item, methods)
    compared = collected(item, done, micrograph.um_per_px)
    if truth is not None:
        compared.insert(0, Compared(GIVEN, truth, measure_crystals(truth, micrograph.um_per_px)))
    if len(compared) < 2:
        st.info("Choose two methods, or one and a label image, and run them.", icon=":material/compare:")
        return
    reference = compared[0]
    others = [method.name for method in compared[1:]]
    other = st.selectbox(
        "Difference map: crystals of this method", others, **kept(f"difference {item.key}", others[0], others)
    )
    differing = difference(reference.labels, next(method.labels for method in compared if method.name == other))
    legend = [(CATEGORIES[k], f"{name}: {differing.counts[name]}") for k, name in enumerate(NAMES, start=1)]
    layer = Layer(f"difference: {other} against {reference.name}", differing.map, "categories", tuple(legend))
    versions = [digest(method.name, item.key, hash(method.labels.tobytes())) for method in compared]
    viewer(
        micrograph.pixels,
        digest(item.key, micrograph.region),
        micrograph.um_per_px,
        [
            Crystals(
                method.labels,
                method.crystals.assign(confidence=method.crystals.get("confidence", np.nan)),
                v,
                method.name,
            )
            for method, v in zip(compared, versions, strict=True)
        ],
        Shown(
            layers=[layer],
            layers_key=digest(versions, other),
            arrangements=("side", "swipe", "one"),
            reports=False,
        ),
        key=f"compare {item.key}",
    )
    rule, only = session.measuring().border_rule, session.measuring().only
    if only:
        st.caption(
            f"All crystals are compared, including those that the selection “{plain(only)}” leaves out elsewhere."
        )
    comparison = compare(compared, rule, truth)
    tables(comparison)
    st.plotly_chart(cumulative_chart(compared, rule), width="stretch")
    if done:
        report(item, done[0], micrograph, comparison)
    if len(done) > 1:
        st.subheader("Over several images")
        several_images(done[0], done[1])


def page() -> None:
    session.enter()
    run_controls.sidebar()
    st.title("Compare")
    item = session.current()
    st.subheader(plain(item.original.name))
    result(item)


page()
