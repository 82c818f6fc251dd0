"""Bytes or a path to a `Micrograph`. The only place that decodes images."""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageOps, UnidentifiedImageError

from crystalseg.calibration import Calibration, from_resolution, from_tiff

SMALLEST_SIDE = 32
MAX_MEGAPIXELS = 100.0
FORMATS = ("png", "jpg", "jpeg", "bmp", "tif", "tiff")
# The size check is ours, made from the header with a clear sentence.
Image.MAX_IMAGE_PIXELS = None


class MicrographError(ValueError):
    """An image that cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class Micrograph:
    """pixels: uint8 (H, W, 3) RGB. calibration: pixel size and its source, or None. name: the file's. sha256: of the
    uploaded bytes. notes: what the user should know about how the file was read. region: (top, left, bottom, right) px
    of the part of the file's image that `pixels` shows."""

    pixels: np.ndarray
    name: str
    sha256: str
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()
    region: tuple[int, int, int, int] | None = None

    @property
    def um_per_px(self) -> float | None:
        return self.calibration.um_per_px if self.calibration else None

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[:2]

    def crop(self, top: int, left: int, bottom: int, right: int) -> "Micrograph":
        """The rectangle of rows top..bottom and columns left..right (ends excluded); MicrographError if unusable."""
        h, w = self.shape
        if not (0 <= top < bottom <= h and 0 <= left < right <= w):
            raise MicrographError(f"{self.name}: the region lies outside the image of {w} × {h} px.")
        _check_sides(self.name, bottom - top, right - left, "The region")
        pixels = np.ascontiguousarray(self.pixels[top:bottom, left:right])
        y, x = (self.region or (0, 0))[:2]
        return replace(self, pixels=pixels, region=(top + y, left + x, bottom + y, right + x))


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


def read_labels(path: str | Path) -> np.ndarray:
    """A label image (PNG or TIFF, 8 to 32 bit, 0 = background) as int32 (H, W); MicrographError if it is none."""
    path = Path(path)
    return decode_labels(path.read_bytes(), path.name)


def decode_labels(data: bytes, name: str) -> np.ndarray:
    """As `read_labels`, from the bytes of a file called `name`."""
    try:
        if name.lower().endswith((".tif", ".tiff")):
            labels = tifffile.imread(io.BytesIO(data))
        else:
            labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except Exception as error:  # tifffile raises what it likes
        raise MicrographError(f"{name}: cannot be read as a label image.") from error
    if labels is None or labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise MicrographError(f"{name}: a label image must have one channel of whole numbers.")
    return labels.astype(np.int32)


def read_pairs(folder: str | Path) -> list[tuple[Micrograph, np.ndarray]]:
    """Each `<id>.png` of a folder with the labels int32 (H, W) of the `<id>_label.png` beside it; names are the ids.

    Raises MicrographError when there is none, or an image and its labels differ in size.
    """
    pairs = []
    for path in sorted(Path(folder).glob("*_label.png")):
        name = path.name.removesuffix("_label.png")
        micrograph = read_micrograph(path.with_name(f"{name}.png"), name)
        labels = read_labels(path)
        if labels.shape != micrograph.shape:
            raise MicrographError(f"{name}: the image and its labels differ in size.")
        pairs.append((micrograph, labels))
    if not pairs:
        raise MicrographError(f"{folder}: no <id>.png with an <id>_label.png beside it.")
    return pairs


def _check_sides(name: str, height: int, width: int, what: str = "The image") -> None:
    if height < 1 or width < 1:
        raise MicrographError(f"{name}: {what.lower()} has no pixels.")
    if min(height, width) < SMALLEST_SIDE:
        raise MicrographError(f"{name}: {what.lower()} is {width} × {height} px; both sides must be at least 32 px.")


def _check_size(name: str, height: int, width: int, limit: float) -> None:
    _check_sides(name, height, width)
    if height * width > limit * 1e6:
        raise MicrographError(
            f"{name}: {height * width / 1e6:.0f} megapixels ({width} × {height}) exceed the limit of {limit:g}; "
            "crop the image or raise the limit."
        )


def _read_other(data: bytes, name: str, limit: float):
    image = Image.open(io.BytesIO(data))
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


def _read_tiff(data: bytes, name: str, limit: float):
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        page = tif.pages[0]
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
            array = (page.colormap[:, array[..., 0]].transpose(1, 2, 0) >> 8).astype(np.uint8)
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


def find_data_bar(pixels: np.ndarray) -> int | None:
    """First row of the data bar that a SEM burns into the lower edge, or None.

    A bar is a band in the lowest third, at least 2 % high, whose rows mostly have one flat tone, that carries writing,
    and that begins with a step across nearly the whole width. `pixels`: uint8 (H, W, 3).
    """
    gray = pixels.mean(axis=2)
    h = len(gray)
    lowest = int(h * 2 / 3)
    band = gray[lowest:].round().astype(np.int32)
    tone = np.bincount(band[-max(3, h // 100) :].ravel(), minlength=256).argmax()
    flat = (np.abs(band - tone) <= 4).mean(axis=1) > 0.4
    # Rows of large letters or a frame line may be mostly not flat; bridge up to 4 % of the height.
    rows = np.flatnonzero(flat)
    if not len(rows) or rows[-1] < len(band) - 1 - h * 0.03:
        return None
    top = rows[-1]
    for row in rows[::-1]:
        if top - row > max(2, 0.04 * h):
            break
        top = row
    top += lowest
    if h - top < max(8, 0.02 * h) or top <= lowest:
        return None
    bar = np.abs(gray[top:] - tone)
    writing = (bar > 60).mean()
    above = np.abs(gray[max(0, top - 6) : top - 1].mean(axis=0) - tone)
    step = (above > 8).mean()
    return int(top) if 0.002 < writing < 0.5 and step > 0.8 else None


def find_scale_bar(pixels: np.ndarray) -> tuple[float, float, float, float] | None:
    """The ends (x0, y0, x1, y1) px of a horizontal scale bar, or None: a proposal that a person has to confirm.

    A bar is the slenderest flat, nearly white or nearly black stripe in the lowest third, at least 4 % of the width
    long and eight times as long as high, free of the image's edges. `pixels`: uint8 (H, W, 3). Ends lie on pixel edges.
    """
    height, width = pixels.shape[:2]
    top = height * 2 // 3
    gray = cv2.cvtColor(pixels[top:], cv2.COLOR_RGB2GRAY)
    best = None
    for mask in (gray >= 240, gray <= 15):
        # writing and ticks that touch the bar are thinner than it is long: they go when rows are opened
        least = max(20, round(0.04 * width)) | 1  # odd: an even one would move the bar by a pixel
        rows = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((1, least), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(rows, connectivity=4)
        for x, y, w, h, area in stats[1:].tolist():
            free = x > 0 and x + w < width and w < 0.7 * width and top + y + h < height
            thin = h >= 2 and w >= 8 * h and h <= max(4, 0.03 * height)
            if free and thin and area >= 0.95 * w * h and (best is None or w / h > best[0]):
                best = (w / h, (float(x), top + y + h / 2, float(x + w), top + y + h / 2))
    return best[1] if best else None
