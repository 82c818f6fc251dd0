"""Bytes or a path to a `Micrograph`. The only place that decodes images."""

import hashlib
import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from crystalseg.micrographs.calibration import Calibration, from_resolution, from_tiff
from crystalseg.micrographs.intensities import ValuesError, to_rgb
from crystalseg.micrographs.micrograph import Micrograph, MicrographError, check_sides
from crystalseg.micrographs.names import visible

MAX_MEGAPIXELS = 100.0
MAX_FILE = 2**30  # bytes of a file that is read from a folder or an archive
MAX_BYTES = 2 * 2**30  # of memory that one image takes at most while it is decoded
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
    image, damaged, without a finite value, too small, larger than `max_megapixels`, or would take more than MAX_BYTES
    (both known from the header, before pixels are decoded).
    """
    if isinstance(source, bytes):
        data, name = source, visible(name or "image")
    else:
        path = Path(source)
        name = visible(name or path.name)
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
    except ValuesError as error:
        raise MicrographError(f"{name}: {error}.") from error
    except MemoryError as error:
        raise MicrographError(f"{name}: too large for the memory of this machine; crop it.") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.") from error
    return Micrograph(pixels, name, hashlib.sha256(data).hexdigest(), calibration, tuple(notes))


def _check_size(name: str, height: int, width: int, pixel_bytes: int, limit: float) -> None:
    """Before pixels are decoded, from what the header says; `pixel_bytes`: what one takes as the file stores it."""
    check_sides(name, height, width)
    if height * width > limit * 1e6:
        raise MicrographError(
            f"{name}: too large: {height * width / 1e6:.0f} megapixels ({width} × {height}) exceed the limit of "
            f"{limit:g}; crop the image or raise the limit."
        )
    room = _room(limit)
    if height * width * (pixel_bytes + 3) > room:
        raise MicrographError(
            f"{name}: too large: its pixels of {pixel_bytes} bytes each would take "
            f"{height * width * (pixel_bytes + 3) / 2**30:.1f} GiB of memory, the limit is {room / 2**30:.3g}; "
            "save it with 8 or 16 bits, or crop it."
        )


def _room(limit: float) -> float:
    """Bytes one image may take: more where larger images were allowed."""
    return max(MAX_BYTES, 20e6 * limit)


def _read_other(data: bytes, name: str, limit: float) -> Decoded:
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.format not in ("PNG", "JPEG", "BMP", "MPO"):
        raise MicrographError(f"{name}: {image.format} files are not read; save it as PNG, JPEG, BMP or TIFF.")
    deep = image.format == "PNG" and data[24] == 16
    _check_size(name, image.height, image.width, 8 if deep else 4, limit)
    x, y = image.info.get("dpi", (0, 0))
    calibration = from_resolution(float(x), float(y), "inch")
    if deep:  # Pillow would cut 16-bit colour down to its high byte
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
        order = [2, 1, 0, 3][: array.shape[2]] if array.ndim == 3 else []

        def ordered(rows: slice, columns: slice) -> np.ndarray:
            return array[rows, columns][..., order] if order else array[rows, columns]

        notes = ["16-bit intensities were scaled to 8 bit."]
        return to_rgb(array.shape[0], array.shape[1], ordered), calibration, notes
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        mode = "RGBA" if "transparency" in image.info else "RGB"
    else:
        mode = image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB"  # CMYK, YCbCr, 1-bit, ...

    def part(rows: slice, _: slice) -> np.ndarray:
        return np.asarray(image.crop((0, rows.start, image.width, rows.stop)).convert(mode))

    return to_rgb(image.height, image.width, part), calibration, []


def _read_tiff(data: bytes, name: str, limit: float) -> Decoded:
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        page = cast(tifffile.TiffPage, tif.pages[0])
        height, width = page.imagelength, page.imagewidth
        sample = page.dtype.itemsize if page.dtype is not None else 1
        _check_size(name, height, width, page.samplesperpixel * page.imagedepth * sample, limit)
        if math.prod(page.chunks) * sample > _room(limit):
            raise MicrographError(f"{name}: too large: one of its tiles alone exceeds the limit of memory.")
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
        array = np.squeeze(array).reshape(height, width, -1)
        convert = _meaning(page, array)
        eight = convert(array[:1, :1]).dtype == np.uint8
        if not eight:
            notes.append(f"{array.dtype} intensities were scaled to 8 bit.")
        pixels = to_rgb(height, width, lambda rows, columns: convert(array[rows, columns]))
        if array.dtype.kind == "f" and not eight:
            missing = sum(np.count_nonzero(~np.isfinite(row)) for row in array)
            if missing:
                notes.append(f"{missing} of its values are no finite numbers; they became black.")
        return pixels, from_tiff(tif), notes


def _meaning(page: tifffile.TiffPage, array: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What makes gray or RGB of stored values (h, w, samples)."""
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        colours = (cast(np.ndarray, page.colormap).T >> 8).astype(np.uint8)
        return lambda part: colours[part[..., 0]]
    if page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
        most = np.iinfo(array.dtype).max

        def printed(part: np.ndarray) -> np.ndarray:
            ink = part[..., :4].astype(np.float32) / most
            return ((1 - ink[..., :3]) * (1 - ink[..., 3:4]) * 255 + 0.5).astype(np.uint8)

        return printed
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        top = array.max()
        return lambda part: top - part if part.dtype.kind != "b" else ~part
    return lambda part: part
