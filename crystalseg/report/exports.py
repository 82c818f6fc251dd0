"""Write tables as CSV, and labels and layers as images."""

import io
import math
from collections.abc import Callable
from typing import Any, BinaryIO

import cv2
import numpy as np
import pandas as pd
import tifffile
from PIL import Image

from crystalseg.micrographs.names import visible
from crystalseg.segmentation.diagnostics import Layer

TILE = 512  # px; tile side in the files of a mosaic
OVERVIEW = 1200  # px; longest side of the smallest level of those files
LONGEST_CELL = 32_000  # characters; Excel takes 32,767


def cell(value: object) -> object:
    """Return a table cell that spreadsheets do not run as a formula: text that looks like one gets an apostrophe in
    front (OWASP, CSV injection). Numbers stay as they are."""
    text = shown(value)
    return f"'{text}" if isinstance(text, str) and text.startswith(("=", "+", "-", "@")) else text


def shown(value: object) -> object:
    """Return a table cell as visible text, no longer than Excel accepts. Numbers stay as they are."""
    return visible(value)[:LONGEST_CELL] if isinstance(value, str) else value


def in_text(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    """Return the table with `change` applied to every cell of its non-numeric columns."""
    typed = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].map(change) for name in typed})


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV: UTF-8 with a byte-order mark (Excel needs it for µ), decimal points, six significant
    digits, no formulas."""
    return b"\xef\xbb\xbf" + in_text(table, cell).to_csv(index=False, float_format="%.6g").encode()


def labels_tiff(labels: np.ndarray, um_per_px: float | None = None) -> bytes:
    """Return labels as a deflate-compressed ImageJ TIFF: uint16, or float32 (the widest type ImageJ reads) for more
    than 65,535 crystals.

    If `um_per_px` is given, the file states the pixel size in microns.
    """
    image = labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else np.float32)
    resolution = None if um_per_px is None else (1 / um_per_px, 1 / um_per_px)
    metadata = {} if um_per_px is None else {"unit": "micron"}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, imagej=True, compression="zlib", metadata=metadata, resolution=resolution)
    return buffer.getvalue()


def layer_png(layer: Layer) -> bytes:
    """Return a layer of a segmentation as PNG, in the colours that the page uses."""
    buffer = io.BytesIO()
    Image.fromarray(layer.picture()).save(buffer, "PNG")
    return buffer.getvalue()


def layer_tiff(layer: Layer) -> bytes:
    """Return the values of a layer as a deflate-compressed TIFF: float32, or uint8 for categories."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, layer.values, compression="zlib", metadata={"description": layer.name})
    return buffer.getvalue()


def labels_pyramid(file: BinaryIO, labels: np.ndarray, um_per_px: float | None) -> None:
    """Write labels of a mosaic as OME-TIFF: deflate-compressed uint32 tiles; each smaller level keeps every second
    pixel."""
    _pyramid(file, labels.view(np.uint32), um_per_px, lambda level: level[::2, ::2], compression="zlib", predictor=True)


def image_pyramid(file: BinaryIO, pixels: np.ndarray, um_per_px: float | None) -> None:
    """Write a mosaic, uint8 (H, W, 3), as OME-TIFF for viewing: high-quality JPEG tiles and smaller levels."""

    def halved(level: np.ndarray) -> np.ndarray:
        return cv2.resize(level, (level.shape[1] // 2, level.shape[0] // 2), interpolation=cv2.INTER_AREA)

    _pyramid(file, pixels, um_per_px, halved, compression="jpeg", compressionargs={"level": 88}, photometric="rgb")


def _pyramid(
    file: BinaryIO, image: np.ndarray, um_per_px: float | None, halved: Callable[[np.ndarray], np.ndarray], **how: Any
) -> None:
    levels = max(0, math.ceil(math.log2(max(image.shape[:2]) / OVERVIEW)))
    facts: dict[str, Any] = {"axes": "YXS" if image.ndim == 3 else "YX"}
    if um_per_px is not None:
        facts |= {f"PhysicalSize{axis}": um_per_px for axis in "XY"}
    with tifffile.TiffWriter(file, bigtiff=True, ome=True) as tif:
        tif.write(image, subifds=levels, metadata=facts, tile=(TILE, TILE), maxworkers=2, **how)
        for _ in range(levels):
            image = halved(image)
            tif.write(image, subfiletype=1, metadata=None, tile=(TILE, TILE), maxworkers=2, **how)
