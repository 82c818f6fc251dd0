"""Tables as CSV and labels as TIFF."""

import io

import numpy as np
import pandas as pd
import tifffile

from crystalseg.micrographs.names import visible

LONGEST_CELL = 32_000  # characters; Excel takes 32,767


def cell(value: object) -> object:
    """A table's cell for programs that take some text for a formula: that gets an apostrophe before it (OWASP, CSV
    injection). Numbers stay."""
    if not isinstance(value, str):
        return value
    text = visible(value)[:LONGEST_CELL]
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def csv(table: pd.DataFrame) -> bytes:
    """A table as CSV: UTF-8 with a byte-order mark (Excel needs it for µ), decimal points, six digits, no formulas."""
    typed = table.select_dtypes(exclude=["number", "bool"]).columns
    safe = table.assign(**{name: table[name].map(cell) for name in typed})
    return b"\xef\xbb\xbf" + safe.to_csv(index=False, float_format="%.6g").encode()


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
