"""The image viewer: a Components v2 component of ours (viewer_js), and the data sent to it.

Pictures go to the browser as files that it may cache, not inside the message of every click.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import streamlit as st
from streamlit import runtime

from crystalseg.measurement.rounding import significant
from crystalseg.segmentation.colormap import colours_by_size, flow_wheel
from crystalseg.segmentation.diagnostics import FOREGROUND_RANGE, Layer
from crystalseg.segmentation.overlay import fit

SHOWN_PX = 2000  # longer side of the picture sent to the browser: a 4 MP image unchanged, a 16 MP image at half size
LAYER_PX = 1400  # longer side of a layer
# Tools of correction: name, key, words and explanation. Tools with a dot act on the chosen crystals at once.
NOT_COUNTED = (128, 128, 128)  # the colour of pores, artefacts and crystals left out
TOOLS = (
    ("select", "v", "select", "Click a crystal; Shift-click for more."),
    ("join", "j", "join", "Click on the line between two halves of a crystal."),
    (".merge", "m", "merge chosen", "Merge the chosen crystals (Shift-click to choose several)."),
    ("split", "s", "split", "Click once in each of two crystals that were found as one."),
    ("cut", "c", "cut", "Drag a line across a crystal."),
    ("add", "a", "add", "Click inside a missed crystal: it is taken from the output of the flow network."),
    (
        *("click", "w", "click"),
        "Click inside a crystal that was missed or drawn wrongly: a network draws it. Shift-click: exclude this place. "
        "Ctrl-click: include this place too.",
    ),
    ("lasso", "l", "draw", "Drag around a crystal: the chosen crystal is redrawn, or a new one is drawn."),
    ("check", "r", "checked", "Drag around an area in which every crystal is right: models are taught with it."),
    (".delete", "Delete", "delete", "Delete the chosen crystals."),
    (".mark pore", "p", "pore", "Mark the chosen crystals as pores, which are left out of the statistics."),
    (".mark artefact", "x", "artefact", "Mark the chosen crystals as artefacts, which are left out of the statistics."),
    (".mark crystal", "k", "crystal", "Mark the chosen ones as crystals again."),
    (".accept", "Enter", "accept", "Accept the chosen crystals as they are."),
    (".undo", "z", "undo", "Undo the last correction."),
    (".redo", "y", "redo", "Redo the correction that was undone."),
)


def _button(name: str, key: str, words: str, help_: str) -> str:
    verb, _, mark = name.lstrip(".").partition(" ")
    what = f'data-ask="{verb}" data-mark="{mark}"' if name.startswith(".") else f'data-tool="{name}"'
    active = " active" if name == "select" else ""
    shown = {"Delete": "Del", "Enter": "↵"}.get(key, key)
    return (
        f'<button class="tool{active}" type="button" {what} data-key="{key if len(key) > 1 else key.lower()}" '
        f'title="{help_} Key: {key}">{words} <kbd>{shown}</kbd></button>'
    )


_HTML = f"""
<div class="viewer">
  <div class="toolbox bar" role="toolbar" aria-label="correction tools">{"".join(_button(*t) for t in TOOLS)}</div>
  <div class="tools bar">
    <label class="layer-box">layer <select class="layer" aria-label="layer"></select></label>
    <label class="opacity-box">opacity <input class="opacity" type="range" min="0" max="100" value="60"></label>
    <label class="threshold-box">threshold h
      <input class="threshold" type="range" min="-6" max="6" step="0.1" value="0">
      <span class="threshold-value">0.0</span></label>
    <select class="arrangement" aria-label="arrangement"></select>
    <select class="shown" aria-label="shown result"></select>
    <span class="crystal-box bar">
      <label><input class="outline" type="checkbox" checked> outlines</label>
      <label><input class="numbers" type="checkbox"> numbers</label>
      <label>fill by size <input class="fill" type="range" min="0" max="100" value="0"></label>
    </span>
    <select class="tiles" aria-label="tiles"></select>
    <button class="reset" type="button">whole image</button>
  </div>
  <canvas tabindex="0" role="img" aria-label="Micrograph with crystal outlines"></canvas>
  <div class="below bar"><span class="where"></span>
    <span class="hint">wheel or + −: zoom · drag or arrows: move · 0: whole image · hover: figures</span></div>
  <div class="legend bar"></div>
  <div class="tip" hidden></div>
</div>
"""
_CSS = """
.viewer { position: relative; font-family: var(--st-font); color: var(--st-text-color); font-size: 0.85rem; }
.bar { display: flex; gap: 0.4rem 1rem; align-items: center; flex-wrap: wrap; margin-bottom: 0.4rem; }
.bar .bar { margin: 0; }
.toolbox { gap: 0.3rem; }
[hidden] { display: none !important; }
.bar label { display: flex; gap: 0.35rem; align-items: center; }
.bar input[type=range] { width: 6.5rem; accent-color: var(--st-primary-color); }
.bar select, .reset, .tool { border: 1px solid var(--st-border-color); border-radius: 0.4rem;
  background: var(--st-background-color); color: inherit; font: inherit; padding: 0.15rem 0.5rem; cursor: pointer; }
.tool.active { background: var(--st-primary-color); color: #fff; }
.bar :focus-visible { outline: 2px solid var(--st-primary-color); }
kbd { font-size: 0.7rem; opacity: 0.65; border: 1px solid currentColor; border-radius: 0.2rem; padding: 0 0.2rem; }
.below { justify-content: space-between; margin-top: 0.3rem; min-height: 1.3rem; }
.where { font-variant-numeric: tabular-nums; }
.hint { opacity: 0.65; }
.legend { gap: 0.3rem 1rem; }
.entry { display: inline-flex; gap: 0.35rem; align-items: center; white-space: nowrap; }
.key { width: 0.9rem; height: 0.9rem; border-radius: 0.2rem; display: inline-block; }
canvas { display: block; border-radius: 0.3rem; cursor: crosshair; touch-action: none; background: #8883; }
canvas:focus-visible { outline: 2px solid var(--st-primary-color); }
.tip { position: absolute; z-index: 10; pointer-events: none; background: rgba(20, 24, 28, 0.92); color: #fff;
  padding: 0.4rem 0.6rem; border-radius: 0.4rem; line-height: 1.35; white-space: nowrap; }
"""
_PARTS = ("drawing", "crystals", "input", "viewer")  # the last one is the component and uses the others
_SOURCES = Path(__file__).with_name("viewer_js")
_component = st.components.v2.component(
    "crystalseg_viewer",
    html=_HTML,
    css=_CSS,
    js="\n".join((_SOURCES / f"{part}.js").read_text() for part in _PARTS),
)
_NOTES = {
    "flow": "Colour: the direction in which the network sees the crystal's centre. Dark: uncertain, or no crystal.",
    "foreground": "Orange: above the threshold, taken as crystal. Blue: below.",
    "heat": "Dark blue: no, yellow: yes.",
    "categories": "",
}


@dataclass(frozen=True)
class Crystals:
    """A set of crystals to show. labels: int32 (H, W); their table; a title; version: their key in caches."""

    labels: np.ndarray
    table: pd.DataFrame
    version: str
    title: str = ""


@dataclass(frozen=True)
class Shown:
    """The content over and around the image.

    layers: those to choose from; layer: the one shown first; tiles: names and boxes; paths: colours and points (k, 2),
    y, x; arrangements: of `one`, `side`, `swipe`; tools: names of TOOLS; focus: a crystal to go to (token, id, box);
    picked: crystals to choose (token, ids); a new token repeats either. many: whether several crystals may be chosen;
    reports: whether a choice is returned at once.
    """

    layers: Sequence[Layer] = ()
    layers_key: str = ""
    layer: str = ""
    tiles: Sequence[tuple[str, list]] = ()
    paths: Sequence[tuple[str, np.ndarray]] = ()
    arrangements: Sequence[str] = ("one",)
    tools: Sequence[str] = ()
    focus: dict[str, Any] | None = None
    picked: dict[str, Any] | None = None
    many: bool = False
    reports: bool = True


@dataclass(frozen=True)
class Answer:
    """The answer of the viewer. selected: ids of the clicked crystals; point: (y, x) of the click, px, or None; edit: a
    requested correction, returned once, as a dict of kind, ids, points (y, x) and mark, or None."""

    selected: tuple[int, ...] = ()
    point: tuple[float, float] | None = None
    edit: dict[str, Any] | None = field(default=None)


def _file(data: bytes, kind: str, name: str) -> str:
    """Hand a picture to Streamlit's file server and return its address, relative to the page."""
    if not runtime.exists():
        return ""
    return "." + runtime.get_instance().media_file_mgr.add(data, f"image/{kind}", f"crystalseg {name}")


def _encoded(picture: np.ndarray, kind: str) -> bytes:
    picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if kind == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 1]
    return cv2.imencode(".jpg" if kind == "jpeg" else ".png", picture, options)[1].tobytes()


@st.cache_data(max_entries=16, show_spinner=False)
def _picture(key: str, _pixels: np.ndarray) -> tuple[bytes, tuple[int, int]]:
    shown = fit(_pixels, SHOWN_PX)
    return _encoded(shown, "jpeg"), shown.shape[1::-1]


@st.cache_data(max_entries=24, show_spinner=False)
def _crystals(key: str, size: tuple[int, int], _shown: Crystals) -> tuple[bytes, dict]:
    small = _shown.labels
    if small.shape[::-1] != tuple(size):
        small = cv2.resize(small.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
    # red holds the lowest byte of an id
    ids = cv2.cvtColor(small.astype("<i4").view(np.uint8).reshape(*small.shape, 4), cv2.COLOR_RGBA2RGB)
    table = _shown.table
    colours = colours_by_size(table["equivalent_diameter_px"].to_numpy())
    colours[(table["kind"] != "crystal").to_numpy(bool)] = NOT_COUNTED
    facts = {
        "names": table["id"].tolist(),
        "colours": colours.tolist(),
        "tips": [_tip(row) for row in table.itertuples()],
    }
    return _encoded(ids, "png"), facts


def _tip(row: Any) -> list[str]:
    """Return the figures of a crystal, one per line."""
    unit, suffix = ("µm", "um") if hasattr(row, "equivalent_diameter_um") else ("px", "px")
    names = ("equivalent_diameter", "feret_min", "feret_max")
    diameter, least, most = (significant(getattr(row, f"{name}_{suffix}")) for name in names)
    lines = [
        f"{row.kind} {row.id}",
        f"diameter {diameter} {unit}",
        f"Feret {least} to {most} {unit}",
        f"aspect ratio {row.aspect_ratio:.2f}, circularity {row.circularity:.2f}",
        f"confidence {row.confidence:.2f}",
    ]
    return [*lines, "cut by the image border"] if row.touches_border else lines


@st.cache_data(max_entries=8, show_spinner=False)
def _layers(key: str, _layers: Sequence[Layer]) -> list[tuple[dict, bytes]]:
    """Return the data of each layer for the browser; foreground as gray levels, to try its threshold there."""
    encoded = []
    for layer in _layers:
        if layer.kind == "foreground":
            low, high = FOREGROUND_RANGE
            level = np.clip((fit(layer.values, LAYER_PX) - low) / (high - low), 0, 1)
            data = _encoded((255 * level + 0.5).astype(np.uint8), "png")
        elif layer.kind == "categories":
            data = _encoded(layer.picture(), "png")
        else:
            values = layer.values
            if layer.kind == "flow":
                values = np.stack([fit(channel, LAYER_PX) for channel in values])
            data = _encoded(Layer(layer.name, values, layer.kind).picture(), "jpeg")
        facts = {"name": layer.name, "kind": layer.kind, "legend": layer.legend, "note": _NOTES[layer.kind]}
        encoded.append((facts, data))
    return encoded


@st.cache_data(show_spinner=False)
def _wheel() -> bytes:
    return _encoded(flow_wheel(), "png")


def viewer(
    pixels: np.ndarray,
    picture: str,
    um_per_px: float | None,
    sets: Sequence[Crystals] = (),
    shown: Shown = Shown(),
    key: str = "viewer",
) -> Answer:
    """Show an image, uint8 (H, W, 3), with crystals and layers, and return what the user did.

    Keys for caches here and in the browser: `picture` for the pixels, `shown.layers_key` for the layers, and the
    version of each set for its labels.
    """
    image, size = _picture(picture, pixels)
    encoded = [_crystals(s.version, size, s) for s in sets]
    layers = _layers(shown.layers_key, shown.layers) if shown.layers else []
    wheel = _file(_wheel(), "png", f"{key} wheel") if layers else ""
    data = {
        "image": _file(image, "jpeg", f"{key} image"),
        "picture": picture,
        "size": size,
        "full": pixels.shape[1::-1],
        "um_per_px": um_per_px,
        "sets": [
            {"title": s.title, "version": s.version, "ids": _file(ids, "png", f"{key} ids {i}"), **facts}
            for i, (s, (ids, facts)) in enumerate(zip(sets, encoded, strict=True))
        ],
        "layers": [
            facts
            | {
                "url": _file(file, "jpeg" if facts["kind"] in ("flow", "heat") else "png", f"{key} layer {i}"),
                "wheel": wheel if facts["kind"] == "flow" else "",
            }
            for i, (facts, file) in enumerate(layers)
        ],
        "layer": shown.layer,
        "tiles": [{"name": name, "boxes": boxes} for name, boxes in shown.tiles],
        "paths": [{"colour": colour, "points": points.tolist()} for colour, points in shown.paths],
        "arrangements": list(shown.arrangements),
        "tools": [tool.lstrip(".").split()[0] for tool in shown.tools],
        "focus": shown.focus,
        "picked": shown.picked,
        "many": shown.many,
        "reports": shown.reports,
    }
    result = _component(data=data, key=key, on_selected_change=lambda: None, on_edit_change=lambda: None)
    selected = result.get("selected") or {}
    point = selected.get("point")
    return Answer(tuple(selected.get("ids", ())), tuple(point) if point else None, result.get("edit"))
