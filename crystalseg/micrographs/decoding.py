"""Bytes or a path to a `Micrograph`. The only place that decodes images."""

import hashlib
import io
import math
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from crystalseg import environment
from crystalseg.micrographs.calibration import Calibration, from_resolution, from_tiff, stated
from crystalseg.micrographs.intensities import ValuesError, to_rgb
from crystalseg.micrographs.micrograph import Micrograph, MicrographError, check_sides
from crystalseg.micrographs.names import visible
from crystalseg.micrographs.ome_zarr import is_zarr, read_zarr, zarr_hash, zarr_sides

MOSAIC_MEGAPIXELS = 1000.0  # where nobody has to hold it beside others
MAX_FILE = 2**30  # bytes of a file that is read from a folder or an archive
MAX_BYTES = 2 * 2**30  # of memory that one image takes at most while it is decoded
LARGE = 2**28  # bytes of stored values from which on they are put on the disk, if there is one
FORMATS = ("png", "jpg", "jpeg", "bmp", "tif", "tiff")
# The size check is ours, made from the header with a clear sentence.
Image.MAX_IMAGE_PIXELS = None


# Pixels uint8 (H, W, 3), pixel size, and what the user should know.
Decoded = tuple[np.ndarray, Calibration | None, list[str]]


def read_micrograph(
    source: bytes | str | Path,
    name: str | None = None,
    max_megapixels: float | None = None,
    scratch: Path | None = None,
) -> Micrograph:
    """Decode PNG, JPEG, BMP, TIFF (first page, at its full resolution) or OME-Zarr (a folder, or one packed as a ZIP
    file) to 8-bit RGB.

    More than 8 bits and floating point are stretched between their 0.1st and 99.9th percentile. Transparent pixels
    become white. `name` is for messages and reports; `scratch`: a folder on a disk where the stored values of large
    TIFF files may lie while they are converted, else memory. Raises MicrographError with one sentence if the file is
    not an image, damaged, has tiles missing, is without a finite value, too small, larger than `max_megapixels` (None:
    `environment.max_megapixels`), or would take more than MAX_BYTES (known from the header, before pixels are decoded).

    >>> from crystalseg import read_micrograph
    >>> from crystalseg.micrographs.examples import FOLDER
    >>> micrograph = read_micrograph(FOLDER / "etched-metal-light-microscope.png")
    >>> micrograph.shape, micrograph.um_per_px  # this file does not say its pixel size
    ((300, 400), None)
    """
    limit = environment.max_megapixels() if max_megapixels is None else max_megapixels
    name = visible(name or ("image" if isinstance(source, bytes) else Path(source).name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not isinstance(source, bytes) and is_zarr(Path(source)):
                pixels, calibration, notes = read_zarr(Path(source), name, partial(_check_size, limit=limit))
                return Micrograph(pixels, name, zarr_hash(Path(source)), calibration, tuple(notes))
            with _opened(source, name) as file:
                read = _read_tiff if _is_tiff(file) else _read_other
                pixels, calibration, notes = read(file, name, limit, scratch)
                file.seek(0)
                sha256 = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
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
    return Micrograph(pixels, name, sha256, calibration, tuple(notes))


def is_mosaic(source: bytes | Path) -> bool:
    """Whether an image has more than `environment.max_megapixels`, by its header; not if that cannot be read."""
    limit = environment.max_megapixels()
    try:
        if isinstance(source, Path) and is_zarr(source):
            height, width = zarr_sides(source)
        else:
            with _opened(source, "") as file:
                height, width = _sides(file)
    except Exception:  # decoders raise every kind of error for damaged files; `read_micrograph` says which
        return False
    return height * width > limit * 1e6


def _sides(file: BinaryIO) -> tuple[int, int]:
    if not _is_tiff(file):
        width, height = Image.open(file).size
        return height, width
    with tifffile.TiffFile(file) as tif:
        page = cast(tifffile.TiffPage, tif.pages[0])
        return page.imagelength, page.imagewidth


def _opened(source: bytes | str | Path, name: str) -> BinaryIO:
    """A file to read; MicrographError if there is none, or nothing in it."""
    try:
        file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")  # noqa: SIM115
    except OSError as error:
        raise MicrographError(f"{name}: cannot be opened ({error.strerror}).") from error
    if file.seek(0, io.SEEK_END) == 0:
        file.close()
        raise MicrographError(f"{name}: the file is empty.")
    file.seek(0)
    return file


def _is_tiff(file: BinaryIO) -> bool:
    first = file.read(4)
    file.seek(0)
    return first in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _check_size(name: str, height: int, width: int, pixel_bytes: int, limit: float) -> None:
    """Before pixels are decoded, from what the header says; `pixel_bytes`: what one takes as the file stores it."""
    check_sides(name, height, width)
    if height * width > limit * 1e6:
        raise MicrographError(
            f"{name}: too large: {height * width / 1e6:.0f} megapixels ({width} × {height}) exceed the limit of "
            f"{limit:g}; crop the image, or measure it as a mosaic."
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


def _read_other(file: BinaryIO, name: str, limit: float, _: Path | None) -> Decoded:
    data = file.read()
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.format not in ("PNG", "JPEG", "BMP", "MPO"):
        raise MicrographError(f"{name}: {image.format} files are not read; save it as PNG, JPEG, BMP or TIFF.")
    deep = image.format == "PNG" and data[24] == 16
    _check_size(name, image.height, image.width, 8 if deep else 4, limit)
    x, y = image.info.get("dpi", (0, 0))
    notes: list[str] = []
    calibration = stated(partial(from_resolution, float(x), float(y), "inch"), notes)
    if deep:  # Pillow would cut 16-bit colour down to its high byte
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
        order = [2, 1, 0, 3][: array.shape[2]] if array.ndim == 3 else []

        def ordered(rows: slice, columns: slice) -> np.ndarray:
            return array[rows, columns][..., order] if order else array[rows, columns]

        notes.append("16-bit intensities were scaled to 8 bit.")
        return to_rgb(array.shape[0], array.shape[1], ordered), calibration, notes
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        mode = "RGBA" if "transparency" in image.info else "RGB"
    else:
        mode = image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB"  # CMYK, YCbCr, 1-bit, ...

    def part(rows: slice, _: slice) -> np.ndarray:
        return np.asarray(image.crop((0, rows.start, image.width, rows.stop)).convert(mode))

    return to_rgb(image.height, image.width, part), calibration, notes


def _read_tiff(file: BinaryIO, name: str, limit: float, scratch: Path | None) -> Decoded:
    with tifffile.TiffFile(file) as tif:
        page = cast(tifffile.TiffPage, tif.pages[0])
        height, width = page.imagelength, page.imagewidth
        sample = page.dtype.itemsize if page.dtype is not None else 1
        stored = page.samplesperpixel * page.imagedepth * sample
        _check_size(name, height, width, stored, limit)
        if math.prod(page.chunks) * sample > _room(limit):
            raise MicrographError(f"{name}: too large: one of its tiles alone exceeds the limit of memory.")
        _check_tiles(name, page, file.seek(0, io.SEEK_END))
        notes: list[str] = []
        levels = tif.series[0].levels if tif.series else []
        planes = len(tif.pages) - sum(not level.keyframe.is_subifd for level in levels[1:])
        if planes > 1:
            notes.append(f"The file has {planes} pages; the first was used.")
        array = page.asarray(out=_place_for(name, height * width * stored, scratch))
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
        return pixels, stated(partial(from_tiff, tif), notes), notes


def _check_tiles(name: str, page: tifffile.TiffPage, length: int) -> None:
    """MicrographError if a strip or tile is missing, or lies beyond the end of the file: tifffile would fill it with
    zeros."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if any(offset + count > length for offset, count in places):
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
    missing = sum(not count for _, count in places)
    if missing:
        kind = "tiles" if page.is_tiled else "strips"
        raise MicrographError(f"{name}: {missing} of its {len(places)} {kind} are missing; export it again, complete.")


def _place_for(name: str, size: int, scratch: Path | None) -> str | None:
    """Where tifffile puts the values of a file, `size` bytes: in memory, None, or in a file in `scratch` if they are
    many. MicrographError if that disk has not so much room."""
    if scratch is None or size < LARGE:
        return None
    free = shutil.disk_usage(scratch).free
    if free < size:
        raise MicrographError(
            f"{name}: its values need {size / 2**30:.1f} GiB on the disk of {scratch} while they are read, and "
            f"{free / 2**30:.1f} GiB are free; make room."
        )
    return f"memmap:{scratch}"


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
