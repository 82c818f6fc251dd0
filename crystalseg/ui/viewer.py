"""The image viewer: a Components v2 component of ours (viewer.js) and what is sent to it."""

import base64
import io
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import streamlit as st
from PIL import Image

from crystalseg.view import colours_by_size, fit

SHOWN_PX = 2000  # longer side of the picture sent to the browser

_HTML = """
<div class="viewer">
  <div class="tools">
    <label><input class="outline" type="checkbox" checked> outlines</label>
    <label>fill by size <input class="fill" type="range" min="0" max="100" value="0"></label>
    <button class="reset" type="button">whole image</button>
    <span class="hint">wheel: zoom · drag: move · click: select · hover: figures</span>
  </div>
  <canvas tabindex="0" role="img" aria-label="Micrograph with crystal outlines"></canvas>
  <div class="tip" hidden></div>
</div>
"""
_CSS = """
.viewer { position: relative; font-family: var(--st-font); color: var(--st-text-color); font-size: 0.85rem; }
.tools { display: flex; gap: 1rem; align-items: center; flex-wrap: wrap; margin-bottom: 0.4rem; }
.tools[hidden] { display: none; }
.tools label { display: flex; gap: 0.35rem; align-items: center; }
.hint { opacity: 0.65; }
.reset { border: 1px solid var(--st-border-color); border-radius: 0.4rem; background: none; color: inherit;
  padding: 0.15rem 0.6rem; cursor: pointer; }
canvas { display: block; border-radius: 0.3rem; cursor: crosshair; touch-action: none; background: #8883; }
canvas:focus-visible { outline: 2px solid var(--st-primary-color); }
.tip { position: absolute; z-index: 10; pointer-events: none; background: rgba(20, 24, 28, 0.92); color: #fff;
  padding: 0.4rem 0.6rem; border-radius: 0.4rem; line-height: 1.35; white-space: nowrap; }
"""
_component = st.components.v2.component(
    "crystalseg_viewer", html=_HTML, css=_CSS, js=Path(__file__).with_name("viewer.js").read_text()
)


def _url(picture: np.ndarray, kind: str) -> str:
    buffer = io.BytesIO()
    options = {"quality": 92} if kind == "JPEG" else {"compress_level": 3}
    Image.fromarray(picture).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


@st.cache_data(max_entries=8, show_spinner=False)
def _picture(key: str, _pixels: np.ndarray) -> tuple[str, tuple[int, int]]:
    shown = fit(_pixels, SHOWN_PX)
    return _url(shown, "JPEG"), shown.shape[1::-1]


@st.cache_data(max_entries=8, show_spinner=False)
def _crystals(key: str, size: tuple[int, int], _labels: np.ndarray, _table: pd.DataFrame) -> dict:
    small = cv2.resize(_labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.uint32)
    ids = np.stack((small & 255, small >> 8 & 255, small >> 16 & 255), axis=-1).astype(np.uint8)
    colours = colours_by_size(_table["equivalent_diameter_px"].to_numpy())
    return {"ids": _url(ids, "PNG"), "colours": colours.tolist(), "tips": [_tip(row) for row in _table.itertuples()]}


def _tip(row) -> list[str]:
    """A crystal's figures, a line each."""
    unit, suffix = ("µm", "um") if hasattr(row, "equivalent_diameter_um") else ("px", "px")
    lines = [
        f"crystal {row.id}",
        f"diameter {getattr(row, f'equivalent_diameter_{suffix}'):.4g} {unit}",
        f"Feret {getattr(row, f'feret_min_{suffix}'):.4g} to {getattr(row, f'feret_max_{suffix}'):.4g} {unit}",
        f"aspect ratio {row.aspect_ratio:.2f}, circularity {row.circularity:.2f}",
        f"confidence {row.confidence:.2f}",
    ]
    return [*lines, "cut by the image border"] if row.touches_border else lines


def viewer(
    pixels: np.ndarray,
    picture: str,
    um_per_px: float | None,
    labels: np.ndarray | None = None,
    crystals: pd.DataFrame | None = None,
    version: str = "",
    selected: int = 0,
    key: str = "viewer",
) -> int:
    """Show an image, uint8 (H, W, 3), with its crystals; returns the id of the crystal clicked, 0 for none.

    `picture` names the pixels and `version` the labels: both are keys for caches here and in the browser.
    """
    image, size = _picture(picture, pixels)
    data = {
        "image": image,
        "picture": picture,
        "size": size,
        "um_per_px": um_per_px * pixels.shape[1] / size[0] if um_per_px else None,
        "version": version,
        "selected": selected,
        "ids": None,
        "colours": [],
        "tips": [],
    }
    if labels is not None and crystals is not None:
        data |= _crystals(version, size, labels, crystals)
    result = _component(data=data, key=key, default={"selected": selected}, on_selected_change=lambda: None)
    return int(result.selected or 0)
