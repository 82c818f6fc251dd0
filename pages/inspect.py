"""Inspect: every step of a segmentation, and the reasons behind a crystal."""

import numpy as np
import pandas as pd
import streamlit as st

from crystalseg.measurement.rounding import significant
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import file_stem
from crystalseg.record.store import digest
from crystalseg.report.exports import layer_png, layer_tiff
from crystalseg.segmentation.colormap import CATEGORIES
from crystalseg.segmentation.diagnostics import Layer, explain, layers, tile_grid
from crystalseg.segmentation.flows import path
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.ui import run_controls, session, shared
from crystalseg.ui.downloads import offer
from crystalseg.ui.viewer import Crystals, Shown, viewer


@st.cache_resource(max_entries=4, show_spinner=False)
def all_layers(version: str, um_per_px: float | None, _segmentation: Segmentation) -> list[Layer]:
    return layers(_segmentation, um_per_px)


def paths(segmentation: Segmentation, point: tuple[float, float]) -> list[tuple[str, np.ndarray]]:
    """Return the path of a pixel to its sink at each scale, in px of the image: a colour and points."""
    drawn = []
    for k, scale in enumerate(segmentation.scales):
        h, w = scale.foreground.shape
        up = np.array(segmentation.labels.shape) / (h, w)
        y, x = np.clip((np.array(point) / up).astype(int), 0, (h - 1, w - 1))
        mask = scale.foreground > segmentation.settings.instances.foreground_threshold
        points = path(scale.flow, mask, int(y), int(x))
        if len(points):
            drawn.append((f"rgb{CATEGORIES[1 + k % 8]}", (points + 0.5) * up))
    return drawn


def reason(segmentation: Segmentation, micrograph: Micrograph, table: pd.DataFrame, number: int) -> None:
    """Show the figures of a crystal and the reasons behind it."""
    st.subheader(f"Crystal {number}")
    row = table[table["id"] == number].iloc[0]
    unit, suffix = ("µm", "um") if micrograph.um_per_px else ("px", "px")
    rows = [
        ("Diameter", f"{significant(row[f'equivalent_diameter_{suffix}'])} {unit}"),
        ("Bounding box, longer side", f"{significant(row[f'length_{suffix}'])} {unit}"),
        ("Aspect ratio, circularity", f"{row['aspect_ratio']:.2f}, {row['circularity']:.2f}"),
        *explain(segmentation, number),
    ]
    st.table(pd.DataFrame(rows, columns=["figure", "value"]).set_index("figure"))


def downloads(chosen: list[Layer], stem: str) -> None:
    """Offer any layer as a picture and as numbers."""
    left, middle, right = st.columns((3, 1, 1), vertical_alignment="bottom")
    name = left.selectbox("Download a layer", [layer.name for layer in chosen])
    layer = next(layer for layer in chosen if layer.name == name)
    file = f"{stem}_{''.join(c if c.isalnum() else '_' for c in name)}"
    offer(middle, "PNG", lambda: layer_png(layer), f"{file}.png", "image/png", help="The layer as it is coloured here.")
    offer(right, "TIFF", lambda: layer_tiff(layer), f"{file}.tif", "image/tiff", help="The numbers behind it, float32.")


def result(item: session.Item, job: str) -> None:
    choice = session.instances()
    micrograph = item.measured()
    segmentation = shared.with_instances(job, choice)
    # The reasons explain the networks' segmentation, not corrections by hand.
    table = shared.table(job, choice, micrograph.um_per_px)
    version = digest(job, choice, micrograph.um_per_px)
    chosen = all_layers(version, micrograph.um_per_px, segmentation)
    if not chosen:
        st.info("This method has no flow, foreground or attention to show.", icon=":material/info:")
    elif not segmentation.scales:
        st.info("For an image of this size, flow and foreground are not kept.", icon=":material/info:")
    clicked = st.session_state.get(f"inspect {job}") or {}
    point = (clicked.get("selected") or {}).get("point")
    left, right = st.columns((5, 2))
    with left:
        answer = viewer(
            micrograph.pixels,
            job,
            micrograph.um_per_px,
            [Crystals(segmentation.labels, table, version)],
            Shown(
                layers=chosen,
                layers_key=version,
                layer=chosen[0].name if chosen else "",
                tiles=[
                    (f"tiles at × {s.factor:.3g}", tile_grid(segmentation, k))
                    for k, s in enumerate(segmentation.scales)
                ],
                paths=paths(segmentation, point) if point else (),
                arrangements=("one", "side", "swipe"),
            ),
            key=f"inspect {job}",
        )
    with right:
        number = answer.selected[0] if answer.selected else 0
        if number and number <= len(segmentation.confidence):
            reason(segmentation, micrograph, table, number)
        else:
            st.info("Click a crystal to see the reasons behind it.", icon=":material/ads_click:")
        if answer.point and segmentation.scales:
            st.caption(
                "Lines: the path of the clicked pixel to its sink, one colour per scale: "
                + ", ".join(f"× {scale.factor:.3g}" for scale in segmentation.scales)
                + ". If a scale takes the pixel for background, it has no path there."
            )
    if chosen:
        downloads(chosen, file_stem(micrograph.name))


run_controls.result_page(
    "Inspect",
    "What the networks saw: the direction to each crystal's centre (flow), where crystals are (foreground), and which "
    "resolution decided where.",
    result,
)
