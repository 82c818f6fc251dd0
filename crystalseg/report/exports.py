"""Tables as CSV, labels and layers as images."""

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

TILE = 512  # px, of files of mosaics
OVERVIEW = 1200  # px that their smallest level has at most
LONGEST_CELL = 32_000  # characters; Excel takes 32,767


def cell(value: object) -> object:
    """A table's cell for programs that take some text for a formula: that gets an apostrophe before it (OWASP, CSV
    injection). Numbers stay."""
    text = shown(value)
    return f"'{text}" if isinstance(text, str) and text.startswith(("=", "+", "-", "@")) else text


def shown(value: object) -> object:
    """A table's cell as it may be written: visible text, not longer than Excel takes. Numbers stay."""
    return visible(value)[:LONGEST_CELL] if isinstance(value, str) else value


def in_text(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    """The table with `change` made to the cells of the columns that are not numbers throughout."""
    typed = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].map(change) for name in typed})


def csv(table: pd.DataFrame) -> bytes:
    """A table as CSV: UTF-8 with a byte-order mark (Excel needs it for µ), decimal points, six digits, no formulas."""
    return b"\xef\xbb\xbf" + in_text(table, cell).to_csv(index=False, float_format="%.6g").encode()


def labels_tiff(labels: np.ndarray, um_per_px: float | None = None) -> bytes:
    """Labels as an ImageJ TIFF, deflate-compressed: uint16, or float32 (ImageJ's widest) beyond 65,535 crystals.

    With `um_per_px` the pixel size is in the file, unit micron.
    """
    image = labels.astype(np.uint16 if labels.max(initial=0) < 2**16 else np.float32)
    resolution = None if um_per_px is None else (1 / um_per_px, 1 / um_per_px)
    metadata = {} if um_per_px is None else {"unit": "micron"}
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, imagej=True, compression="zlib", metadata=metadata, resolution=resolution)
    return buffer.getvalue()


def layer_png(layer: Layer) -> bytes:
    """A layer of a segmentation as it is coloured on the page."""
    buffer = io.BytesIO()
    Image.fromarray(layer.picture()).save(buffer, "PNG")
    return buffer.getvalue()


def layer_tiff(layer: Layer) -> bytes:
    """The values of a layer, float32 or, of categories, uint8; deflate-compressed."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, layer.values, compression="zlib", metadata={"description": layer.name})
    return buffer.getvalue()


def labels_pyramid(file: BinaryIO, labels: np.ndarray, um_per_px: float | None) -> None:
    """Labels of a mosaic as OME-TIFF: uint32 tiles, deflate-compressed, with smaller levels of every second pixel."""
    _pyramid(file, labels.view(np.uint32), um_per_px, lambda level: level[::2, ::2], compression="zlib", predictor=True)


def image_pyramid(file: BinaryIO, pixels: np.ndarray, um_per_px: float | None) -> None:
    """A mosaic uint8 (H, W, 3) as OME-TIFF: JPEG tiles of good quality, with smaller levels, for looking at."""

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
