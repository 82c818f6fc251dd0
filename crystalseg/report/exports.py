"""Crystals as CSV and labels as TIFF."""

import io

import numpy as np
import pandas as pd
import tifffile


def crystals_csv(crystals: pd.DataFrame) -> bytes:
    """The table as CSV: UTF-8 with a byte-order mark (Excel needs it for µ), decimal points, six digits."""
    return b"\xef\xbb\xbf" + crystals.to_csv(index=False, float_format="%.6g").encode()


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
