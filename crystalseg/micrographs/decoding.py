"""Turn bytes or a path into a `Micrograph`. This is the only module that decodes images."""

import errno
import hashlib
import io
import math
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from crystalseg import environment
from crystalseg.micrographs.calibration import Calibration, from_resolution, stated
from crystalseg.micrographs.foreign import HEAD, foreign_kind
from crystalseg.micrographs.headers import LONGEST, from_appended, from_sidecar, from_tiff, sidecar_names
from crystalseg.micrographs.intensities import ValuesError, to_rgb
from crystalseg.micrographs.micrograph import Micrograph, MicrographError, check_sides
from crystalseg.micrographs.names import visible
from crystalseg.micrographs.ome_zarr import is_zarr, read_zarr, zarr_hash, zarr_sides
from crystalseg.micrographs.tiff_pages import main_page, orientation_of, planes_of, upright
from crystalseg.micrographs.tiff_values import meaning, samples_of

MOSAIC_MEGAPIXELS = 1000.0  # the limit where the image is not held in memory as a whole
MAX_FILE = 2**30  # bytes; the largest file that is read from a folder or an archive
MAX_BYTES = 2 * 2**30  # bytes; the most memory that one image may take while it is decoded
LARGE = 2**28  # bytes; stored values of this size or more go to the disk, if a folder for them is given
FORMATS = ("png", "jpg", "jpeg", "bmp", "tif", "tiff", "jp2", "j2k", "webp")
# Pillow's own size check is off: the size is checked from the header, with a clear sentence.
Image.MAX_IMAGE_PIXELS = None


class TooLargeError(MicrographError):
    """An image has more megapixels than can be measured at once."""


APPENDED = 2**20  # bytes at the end of a TIFF file that are searched for what a microscope wrote there
# Errors that say nothing about the file.
_SYSTEM = (errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT)
ORIENTATION = 0x0112  # the Exif tag

# Pixels uint8 (H, W, 3), pixel size, notes for the user, and the number of channels to choose from.
Decoded = tuple[np.ndarray, Calibration | None, list[str], int]
Beside = Callable[[str], bytes | None]  # returns the bytes of a file of that name in the image's folder, or None


@dataclass(frozen=True)
class _Wanted:
    """The options of one call of `read_micrograph`."""

    megapixels: float
    scratch: Path | None
    channel: int | None

    def choose(self, channels: int, name: str, notes: list[str]) -> int:
        """Return which of `channels` channels to read. Raises MicrographError if the chosen channel does not exist."""
        if channels > 1:
            notes.append(f"The image has {channels} channels; {_ordinal(self.channel or 1)} was used.")
        if self.channel is not None and not 1 <= self.channel <= channels:
            has = f"{channels} channels" if channels > 1 else "one channel"
            raise MicrographError(f"{name}: there is no channel {self.channel}, because it has {has}; choose another.")
        return self.channel or 1


def _ordinal(number: int) -> str:
    return "the first" if number == 1 else f"number {number}"


def read_micrograph(
    source: bytes | str | Path,
    name: str | None = None,
    max_megapixels: float | None = None,
    scratch: Path | None = None,
    channel: int | None = None,
    beside: Beside | None = None,
) -> Micrograph:
    """Decode PNG, JPEG, JPEG 2000, WebP, BMP, TIFF or OME-Zarr to 8-bit RGB.

    Of a TIFF file the picture is read at its full resolution (see `tiff_pages.main_page`). OME-Zarr is a folder, or one
    packed as a ZIP file. Values of more than 8 bits and floating-point values are stretched between their 0.1st and
    99.9th percentile. Transparent pixels become white.

    name: the name for messages and reports.
    max_megapixels: the size limit; None takes `environment.max_megapixels`.
    scratch: a folder on a disk for the stored values of large TIFF files while they are converted; None keeps them in
        memory.
    channel: which of several detectors or channels to read, 1, 2, …; None reads the first.
    beside: returns the text file beside the image in which a microscope wrote the pixel size; None searches the image's
        folder.

    Raises MicrographError with one sentence if the file is not an image, is damaged, has tiles missing, has no finite
    value, is too small, is larger than `max_megapixels`, or would take more than MAX_BYTES. The sizes are known from
    the header, before pixels are decoded.

    >>> from crystalseg import read_micrograph
    >>> from crystalseg.micrographs.examples import FOLDER
    >>> micrograph = read_micrograph(FOLDER / "etched-metal-light-microscope.png")
    >>> micrograph.shape, micrograph.um_per_px  # this file does not state its pixel size
    ((300, 400), None)
    """
    limit = environment.max_megapixels() if max_megapixels is None else max_megapixels
    name = visible(name or ("image" if isinstance(source, bytes) else Path(source).name))
    wanted = _Wanted(limit, scratch, channel)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not isinstance(source, bytes) and is_zarr(Path(source)):
                check = partial(_check_size, limit=limit)
                pixels, calibration, notes, channels = read_zarr(Path(source), name, check, wanted.choose)
                sha256 = zarr_hash(Path(source))
                return Micrograph(pixels, name, sha256, calibration, tuple(notes), None, channel or 1, channels)
            with _opened(source, name) as file:
                read = _read_tiff if _is_tiff(file) else _read_other
                pixels, calibration, notes, channels = read(file, name, wanted)
                file.seek(0)
                sha256 = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
    except MicrographError:
        raise
    except UnidentifiedImageError as error:
        kind = foreign_kind(_head(source), name)
        if kind is not None:
            raise MicrographError(
                f"{name}: {kind.name} files cannot be read; export it as TIFF with {kind.program}."
            ) from error
        raise MicrographError(
            f"{name}: not an image that this program reads (PNG, JPEG, JPEG 2000, WebP, BMP, TIFF)."
        ) from error
    except ValuesError as error:
        raise MicrographError(f"{name}: {error}.") from error
    except MemoryError as error:
        raise MicrographError(f"{name}: too large for the memory of this machine; crop it.") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        # Only errors of the system have a number; decoders raise OSError without one.
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MicrographError(f"{name}: cannot be read, because the disk is full; free some space.") from error
        if isinstance(error, OSError) and error.errno in _SYSTEM:
            raise MicrographError(f"{name}: cannot be read ({error.strerror}); check the disk or network.") from error
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.") from error
    if calibration is None:
        calibration = _beside(source, name, beside, pixels.shape[:2], notes)
    return Micrograph(pixels, name, sha256, calibration, tuple(notes), None, channel or 1, channels)


def _head(source: bytes | str | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD]
    with Path(source).open("rb") as file:
        return file.read(HEAD)


def _beside(
    source: bytes | str | Path, name: str, beside: Beside | None, shape: tuple[int, int], notes: list[str]
) -> Calibration | None:
    """Return the pixel size from a text file beside the image, or None if there is none."""
    if beside is None:
        if isinstance(source, bytes):
            return None
        beside = partial(file_beside, Path(source))
        name = Path(source).name
    for other in sidecar_names(name):
        data = beside(other)
        if data is not None:
            found = stated(partial(from_sidecar, data, shape[::-1], notes), notes)
            if found is not None:
                return found
    return None


def file_beside(path: Path, name: str) -> bytes | None:
    """Return the bytes of a text file called `name` in an image's folder, or in the subfolder that LAS X makes there.
    Return None if there is no such file."""
    for place in (path.with_name(name), path.parent / "MetaData" / name):
        try:
            if place.is_file() and place.stat().st_size <= LONGEST:
                return place.read_bytes()
        except (OSError, ValueError):  # ValueError: not a possible file name
            continue
    return None


def is_mosaic(source: bytes | Path) -> bool:
    """Whether an image has more than `environment.max_megapixels`, by its header. False if the header cannot be
    read."""
    limit = environment.max_megapixels()
    try:
        if isinstance(source, Path) and is_zarr(source):
            height, width = zarr_sides(source)
        else:
            with _opened(source, "") as file:
                height, width = _sides(file)
    except Exception:  # decoders raise every kind of error for damaged files; `read_micrograph` reports it
        return False
    return height * width > limit * 1e6


def _sides(file: BinaryIO) -> tuple[int, int]:
    if not _is_tiff(file):
        width, height = Image.open(file).size
        return height, width
    with tifffile.TiffFile(file) as tif:
        page = main_page(tif)
        return page.imagelength, page.imagewidth


def _opened(source: bytes | str | Path, name: str) -> BinaryIO:
    """Open a file for reading. Raises MicrographError if it does not exist or is empty."""
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
    """Check the size that the header states, before pixels are decoded. `pixel_bytes`: bytes of one pixel as stored."""
    check_sides(name, height, width)
    if height * width > limit * 1e6:
        raise TooLargeError(
            f"{name}: too large: {height * width / 1e6:.0f} megapixels ({width} × {height}) exceed the limit of "
            f"{limit:g}; crop it, or measure it in windows: as a large image on Measure, in a batch, or with the "
            "command mosaic."
        )
    room = _room(limit)
    if height * width * (pixel_bytes + 3) > room:
        raise MicrographError(
            f"{name}: too large: at {pixel_bytes} bytes a pixel, it would take "
            f"{height * width * (pixel_bytes + 3) / 2**30:.1f} GiB of memory, but the limit is {room / 2**30:.3g} GiB; "
            "save it with 8 or 16 bits, or crop it."
        )


def _room(limit: float) -> float:
    """Return the bytes that one image may take. The limit grows where larger images are allowed."""
    return max(MAX_BYTES, 20e6 * limit)


def _read_other(file: BinaryIO, name: str, wanted: _Wanted) -> Decoded:
    data = file.read()
    image: Image.Image = Image.open(io.BytesIO(data))
    if image.format not in ("PNG", "JPEG", "BMP", "MPO", "JPEG2000", "WEBP"):
        if foreign_kind(data[:HEAD], "") is not None:
            raise UnidentifiedImageError
        raise MicrographError(f"{name}: {image.format} files cannot be read; save it as PNG, JPEG, BMP or TIFF.")
    deep = (image.format == "PNG" and data[24] == 16) or image.format == "JPEG2000"
    size = image.size
    _check_size(name, image.height, image.width, 8 if deep else 4, wanted.megapixels)
    notes: list[str] = []
    wanted.choose(1, name, notes)
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format in ("PNG", "WEBP"):
        notes.append(f"The file has {pictures} pictures; the first was used.")
    x, y = image.info.get("dpi", (0, 0))
    calibration = stated(lambda: from_appended(data, size, notes), notes)
    calibration = calibration or stated(partial(from_resolution, float(x), float(y), "inch"), notes)
    if deep:  # Pillow would reduce 16-bit colour to its high byte
        array, kept = _deep(data, image.format == "PNG", name), image.getexif().get(ORIENTATION, 1)
        array = upright(array if array.ndim == 3 else array[..., None], kept if kept in range(1, 9) else 1)
        if array.dtype != np.uint8:
            notes.append(f"{8 * array.dtype.itemsize}-bit intensities were scaled to 8 bit.")
        return to_rgb(array.shape[0], array.shape[1], lambda rows, columns: array[rows, columns]), calibration, notes, 1
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        mode = "RGBA" if "transparency" in image.info else "RGB"
    else:
        mode = image.mode if image.mode in ("L", "LA", "RGB", "RGBA") else "RGB"  # CMYK, YCbCr, 1-bit, ...

    def part(rows: slice, _: slice) -> np.ndarray:
        return np.asarray(image.crop((0, rows.start, image.width, rows.stop)).convert(mode))

    return to_rgb(image.height, image.width, part), calibration, notes, 1


def _deep(data: bytes, is_png: bool, name: str) -> np.ndarray:
    """Return the values of a 16-bit PNG file or a JPEG 2000 file at full depth: (H, W) or (H, W, channels)."""
    if not is_png:
        return imagecodecs.jpeg2k_decode(data)
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
    return array[..., [2, 1, 0, 3][: array.shape[2]]] if array.ndim == 3 else array


def _read_tiff(file: BinaryIO, name: str, wanted: _Wanted) -> Decoded:
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - APPENDED))
    end = file.read()
    file.seek(0)
    with tifffile.TiffFile(file) as tif:
        page = main_page(tif)
        height, width = page.imagelength, page.imagewidth
        sample = page.dtype.itemsize if page.dtype is not None else 1
        stored = page.samplesperpixel * page.imagedepth * sample
        _check_size(name, height, width, stored, wanted.megapixels)
        if math.prod(page.chunks) * sample > _room(wanted.megapixels):
            raise MicrographError(f"{name}: too large: a tile exceeds the memory limit; save it with smaller tiles.")
        notes: list[str] = []
        samples = samples_of(page, name)
        planes = planes_of(tif, page)
        channels = samples.channels if samples.channels > 1 else planes.channels
        channel = wanted.choose(channels, name, notes)
        chosen = planes.page(channel) if samples.channels == 1 else page
        notes += planes.notes
        _check_tiles(name, chosen, length)
        array = chosen.asarray(out=_place_for(name, height * width * stored, wanted.scratch))
        if array.size == 0:
            raise MicrographError(f"{name}: the file is damaged (it states no colour channels); export it again.")
        if page.imagedepth > 1:
            notes.append(f"The page has {page.imagedepth} planes; the first was used.")
            array = array.take(0, page.axes.index("Z"))
        axes = page.axes.replace("Z", "")
        if "S" in axes and axes.index("S") == 0:
            array = np.moveaxis(array, 0, -1)
        array = np.squeeze(array).reshape(height, width, -1)
        convert = meaning(page, array, samples, channel if samples.channels > 1 else 1, name, notes)
        eight = convert(array[:1, :1]).dtype == np.uint8
        if not eight:
            notes.append(f"{array.dtype} intensities were scaled to 8 bit.")
        seen = upright(array, orientation_of(page))
        pixels = to_rgb(seen.shape[0], seen.shape[1], lambda rows, columns: convert(seen[rows, columns]))
        if array.dtype.kind == "f" and not eight:
            missing = sum(np.count_nonzero(~np.isfinite(row)) for row in array)
            if missing:
                notes.append(f"{missing} of its values are not finite numbers; they were set to black.")
        calibration = stated(lambda: from_tiff(tif, page, notes), notes)
        calibration = calibration or stated(lambda: from_appended(end, (width, height), notes), notes)
        return pixels, calibration, notes, channels


def _check_tiles(name: str, page: Any, length: int) -> None:
    """Check that all strips and tiles are in the file. Raises MicrographError if one is missing or lies beyond the end
    of the file, because tifffile would fill it with zeros."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if any(offset + count > length for offset, count in places):
        raise MicrographError(f"{name}: the file is damaged or truncated; export it again.")
    missing = sum(not count for _, count in places)
    if missing:
        kind = "tiles" if page.is_tiled else "strips"
        raise MicrographError(f"{name}: {missing} of its {len(places)} {kind} are missing; export it again, complete.")


def _place_for(name: str, size: int, scratch: Path | None) -> str | None:
    """Say where tifffile puts `size` bytes of values: in memory (None), or in a file in `scratch` if they are many.
    Raises MicrographError if that disk has too little room."""
    if scratch is None or size < LARGE:
        return None
    free = shutil.disk_usage(scratch).free
    if free < size:
        raise MicrographError(
            f"{name}: its values need {size / 2**30:.1f} GiB on the disk of {scratch} while they are read, but "
            f"only {free / 2**30:.1f} GiB are free; free some space."
        )
    return f"memmap:{scratch}"
