"""Bytes or a path to a `Micrograph`. The only place that decodes images."""

import hashlib
import io
import struct
import warnings
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from crystalseg.micrographs.calibration import Calibration, from_resolution, from_tiff
from crystalseg.micrographs.micrograph import Micrograph, MicrographError, check_sides

MAX_MEGAPIXELS = 100.0
FORMATS = ("png", "jpg", "jpeg", "bmp", "tif", "tiff")
# The size check is ours, made from the header with a clear sentence.
Image.MAX_IMAGE_PIXELS = None


# Pixels uint8 (H, W, 3), pixel size, and what the user should know.
Decoded = tuple[np.ndarray, Calibration | None, list[str]]


def read_micrograph(
    source: bytes | str | Path, name: str | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> Micrograph:
    """Decode PNG, JPEG, BMP or TIFF (first page) to 8-bit RGB.

    More than 8 bits and floating point are stretched between their 0.1st and 99.9th percentile. Transparent pixels
    become white. `name` is for messages and reports. Raises MicrographError with one sentence if the file is not an
    image, damaged, too small, or larger than `max_megapixels` (known from the header, before pixels are decoded).
    """
    if isinstance(source, bytes):
        data, name = source, name or "image"
    else:
        path = Path(source)
        name = name or path.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise MicrographError(f"{name}: cannot be opened ({error.strerror}).") from error
    if not data:
        raise MicrographError(f"{name}: the file is empty.")
    is_tiff = data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels, calibration, notes = (_read_tiff if is_tiff else _read_other)(data, name, max_megapixels)
    except MicrographError:
        raise
    except UnidentifiedImageError as error:
        raise MicrographError(f"{name}: not an image this program reads (PNG, JPEG, BMP, TIFF).") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.") from error
    return Micrograph(pixels, name, hashlib.sha256(data).hexdigest(), calibration, tuple(notes))


def _check_size(name: str, height: int, width: int, limit: float) -> None:
    check_sides(name, height, width)
    if height * width > limit * 1e6:
        raise MicrographError(
            f"{name}: {height * width / 1e6:.0f} megapixels ({width} × {height}) exceed the limit of {limit:g}; "
            "crop the image or raise the limit."
        )


def _read_other(data: bytes, name: str, limit: float) -> Decoded:
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.format not in ("PNG", "JPEG", "BMP", "MPO"):
        raise MicrographError(f"{name}: {image.format} files are not read; save it as PNG, JPEG, BMP or TIFF.")
    _check_size(name, image.height, image.width, limit)
    notes = []
    x, y = image.info.get("dpi", (0, 0))
    calibration = from_resolution(float(x), float(y), "inch")
    deep = image.format == "PNG" and struct.unpack(">B", data[24:25])[0] == 16
    if deep:  # Pillow would cut 16-bit colour down to its high byte
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
        if array.ndim == 3:
            array = cv2.cvtColor(array, cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)
        notes.append("16-bit intensities were scaled to 8 bit.")
        return _to_rgb(array), calibration, notes
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")  # CMYK, YCbCr, 1-bit, ...
    return _to_rgb(np.asarray(image)), calibration, notes


def _read_tiff(data: bytes, name: str, limit: float) -> Decoded:
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        page = cast(tifffile.TiffPage, tif.pages[0])
        _check_size(name, page.imagelength, page.imagewidth, limit)
        notes = []
        if len(tif.pages) > 1:
            notes.append(f"The file has {len(tif.pages)} pages; the first was used.")
        array = page.asarray()
        # tifffile fills missing strips with zeros instead of failing.
        if any(o + n > len(data) for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)):
            raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
        if array.size == 0:
            raise MicrographError(f"{name}: the file is damaged (it states no colour channels); export it again.")
        if "S" in page.axes and page.axes.index("S") == 0:
            array = np.moveaxis(array, 0, -1)
        array = np.squeeze(array)
        array = array.reshape(page.imagelength, page.imagewidth, -1)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            array = (cast(np.ndarray, page.colormap)[:, array[..., 0]].transpose(1, 2, 0) >> 8).astype(np.uint8)
        elif page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            ink = array[..., :4].astype(np.float32) / np.iinfo(array.dtype).max
            array = ((1 - ink[..., :3]) * (1 - ink[..., 3:4]) * 255 + 0.5).astype(np.uint8)
        elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            array = array.max() - array if array.dtype.kind != "b" else ~array
        if array.dtype != np.uint8:
            notes.append(f"{array.dtype} intensities were scaled to 8 bit.")
        return _to_rgb(array), from_tiff(tif), notes


def _to_rgb(array: np.ndarray) -> np.ndarray:
    """Any gray, gray + alpha, RGB or RGBA array to uint8 (H, W, 3)."""
    array = array[..., None] if array.ndim == 2 else array
    channels = array.shape[2]
    alpha = array[..., -1] if channels in (2, 4) else None
    colour = array[..., : 1 if channels < 3 else 3]
    if colour.dtype == bool:
        colour = colour.astype(np.uint8) * np.uint8(255)
    elif colour.dtype != np.uint8:
        values = colour.astype(np.float32)
        finite = np.isfinite(values)
        low, high = np.percentile(values[finite], (0.1, 99.9)) if finite.any() else (0.0, 1.0)
        values = np.where(finite, values, low)
        colour = (np.clip((values - low) / max(high - low, 1e-12), 0, 1) * 255 + 0.5).astype(np.uint8)
    if alpha is not None:
        top = 1.0 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max
        opacity = (alpha / np.float32(top))[..., None]
        if (opacity < 1).any():
            colour = (colour * opacity + 255 * (1 - opacity) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour)
