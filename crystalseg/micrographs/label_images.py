"""Read label images as other programs write them: any whole numbers become 1..n."""

import io
import math
from dataclasses import dataclass

import cv2
import numpy as np
import tifffile
from PIL import Image

from crystalseg.micrographs.decoding import MOSAIC_MEGAPIXELS
from crystalseg.micrographs.labels import pieces
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.names import visible
from crystalseg.micrographs.tiff_pages import main_page, orientation_of, upright

STRIP = 2_000_000  # px that are renumbered at once
MASK_VALUES = (1, 255, 65535)  # the values that the one kind of crystal may have in a mask of two values
NEGATIVE = "Numbers below 0 are background"  # the choice on the pages


@dataclass(frozen=True)
class LabelImage:
    """A label image as it was read. labels: int32 (H, W), 0 = background, 1..n in the order of the file's numbers.
    notes: what the user should know about how the file was read."""

    labels: np.ndarray
    notes: tuple[str, ...] = ()


def label_image(data: bytes, name: str, negative: bool = False) -> LabelImage:
    """Read the label image in the bytes of a PNG or TIFF file called `name`.

    The numbers may have any type and may be as large and as far apart as they like, as ImageJ (float32), MorphoLibJ and
    TrackMate (uint32) write them. Of a palette image the indices are read. Equal channels count as one. In a mask of
    two values, each connected piece is a crystal. With `negative`, numbers below 0 are background. Raises
    MicrographError if a number is not whole, or negative without that choice, or if the file is not a label image.
    """
    name = visible(name)
    notes: list[str] = []
    try:
        read = _tiff if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") else _png
        values = read(data, name, notes)
    except MicrographError:
        raise
    except MemoryError as error:
        raise MicrographError(f"{name}: too large for the memory of this machine; crop it.") from error
    except Exception as error:  # decoders raise every kind of error for damaged files
        raise MicrographError(f"{name}: cannot be read as a label image; export it again as PNG or TIFF.") from error
    values = _one_channel(values, name, notes)
    labels, numbers = relabelled(values, name, negative)
    below = int(np.count_nonzero(values < 0)) if negative else 0
    if below:
        notes.append(f"{name}: {below} px have numbers below 0; they were taken as background.")
    if len(numbers) == 1 and numbers[0] in MASK_VALUES:
        apart = pieces(labels)
        if apart.max(initial=0) > 1:
            labels = apart
            notes.append(
                f"{name} is a mask of two values: each of its {apart.max()} connected pieces was taken as one crystal."
            )
    return LabelImage(labels, tuple(notes))


def relabelled(
    values: np.ndarray, name: str = "The label image", negative: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Renumber whole numbers (H, W) of any type. Returns labels int32 (H, W), 1..n, and the original numbers above 0,
    in order. With `negative`, numbers below 0 are background. Raises MicrographError if a number is not whole, or
    negative without that choice."""
    if values.dtype.kind not in "biuf":
        raise MicrographError(f"{name}: a label image must have one channel of whole numbers.")
    there = np.unique(values)
    if not np.isfinite(there).all() or (there != np.rint(there)).any():
        raise MicrographError(f"{name}: a label image must have one channel of whole numbers; it has other numbers.")
    if not negative and len(there) and there[0] < 0:
        raise MicrographError(
            f"{name}: it has numbers below 0, such as {there[0]:.0f}; give the background 0 and each crystal a number "
            f"above 0, or choose “{NEGATIVE}” (--negative-background on the command line)."
        )
    numbers = there[there > 0]
    labels = np.zeros(values.shape, np.int32)
    step = max(1, STRIP // max(1, values.shape[1]))
    for top in range(0, len(values), step):
        strip = values[top : top + step]
        # side="right" because 0 and -0.0 sort before the first number
        labels[top : top + step] = np.searchsorted(numbers, strip, side="right")
    return labels, numbers


def _check_size(name: str, height: int, width: int, pixel_bytes: int) -> None:
    if height * width > MOSAIC_MEGAPIXELS * 1e6 or height * width * pixel_bytes > 4e6 * MOSAIC_MEGAPIXELS:
        raise MicrographError(f"{name}: too large: it has {width} × {height} px; crop it.")


def _png(data: bytes, name: str, notes: list[str]) -> np.ndarray:
    if not data:
        raise MicrographError(f"{name}: the file is empty.")
    with Image.open(io.BytesIO(data)) as image:
        if image.format not in ("PNG", "BMP"):
            raise MicrographError(
                f"{name}: a label image must be PNG or TIFF, which keep every number; it is {image.format}."
            )
        _check_size(name, image.height, image.width, 8)
        if image.mode == "P":
            notes.append(f"{name} has a palette: the numbers of its colours were taken as labels.")
            return np.asarray(image)
        if image.mode == "1":
            return np.asarray(image)
    # Pillow would reduce 16-bit colour to its high byte.
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise MicrographError(f"{name}: cannot be read as a label image; export it again as PNG or TIFF.")
    return values[..., [2, 1, 0, *range(3, values.shape[2])]] if values.ndim == 3 else values


def _tiff(data: bytes, name: str, notes: list[str]) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        page = main_page(tif)
        sample = page.dtype.itemsize if page.dtype is not None else 1
        _check_size(name, page.imagelength, page.imagewidth, page.samplesperpixel * page.imagedepth * sample)
        same = [series for series in tif.series if series.keyframe.shape == page.shape]
        planes = sum(math.prod(series.shape[: -page.ndim or None]) for series in same)
        if planes > 1:
            raise MicrographError(f"{name}: it has {planes} planes; a label image has one. Save the right plane alone.")
        values = page.asarray()
        if "S" in page.axes and page.axes.index("S") == 0:
            values = np.moveaxis(values, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            notes.append(f"{name} has a palette: the numbers of its colours were taken as labels.")
        if any(series.ndim > page.ndim for series in same):
            notes.append(f"{name} has {max(series.ndim for series in same)} dimensions, of which two are used.")
        return upright(values, orientation_of(page))


def _one_channel(values: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Return one channel of values (H, W) or (H, W, channels). The channels of the colours must be equal."""
    if values.ndim == 3 and values.shape[2] == 1:
        return values[..., 0]
    if values.ndim == 2:
        return values
    colours = values[..., :3] if values.ndim == 3 and values.shape[2] >= 3 else values[..., :1]
    if values.ndim != 3 or (colours != colours[..., :1]).any():
        raise MicrographError(
            f"{name}: a label image must have one channel of whole numbers; it is in colour. Save the label "
            "numbers, not a picture of them."
        )
    notes.append(f"{name} has {values.shape[2]} channels, and its colour channels are equal; one was used.")
    return colours[..., 0]
