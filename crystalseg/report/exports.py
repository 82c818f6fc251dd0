"""Tables as CSV and labels as TIFF."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import tifffile

from crystalseg.micrographs.names import visible

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
