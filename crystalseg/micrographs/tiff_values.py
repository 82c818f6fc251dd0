"""Interpret the stored values of a TIFF page: gray, colours, transparency, or several detectors (TIFF 6.0)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image, ImageCms
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from crystalseg.micrographs.micrograph import MicrographError

_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
# The number of samples of a pixel that are its gray level or colour. Pages of other kinds are not read.
_SAMPLES = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.MASK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.CIELAB: 3,
    PHOTOMETRIC.ICCLAB: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
# The decoders of these compressions turn YCbCr into RGB.
_TO_RGB = {
    "JPEG",
    "OJPEG",
    "ALT_JPEG",
    "JPEG_LOSSY",
    "APERIO_JP2000_YCBC",
    "JPEG2000",
    "JPEG_2000_LOSSY",
    "WEBP",
    "JPEGXL",
}

Convert = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Samples:
    """The samples of a pixel. colour: how many are its colour. others: the indices of further detectors. alpha: the
    index of the opacity, or None. associated: whether the colour was multiplied by the opacity."""

    colour: int
    others: tuple[int, ...]
    alpha: int | None
    associated: bool

    @property
    def channels(self) -> int:
        """The number of channels to choose from. The colour is the first."""
        return 1 + len(self.others)


def samples_of(page: Any, name: str) -> Samples:
    """Return what the samples of a pixel are. Raises MicrographError if pages of this colour space are not read."""
    count = page.samplesperpixel
    colour = _SAMPLES.get(page.photometric)
    if colour is None or (colour == 4 and (count < 4 or _ink_set(page) != 1)):
        kind = getattr(page.photometric, "name", str(page.photometric))
        raise MicrographError(
            f"{name}: its colours are stored in a way that cannot be read ({kind}), such as raw values of a camera; "
            "save it as gray or RGB."
        )
    if colour > count:  # a gray level that is declared as a colour
        colour = 1
    kinds = [int(kind) for kind in page.extrasamples or ()][: count - colour]
    if not kinds and colour == 3 and count == 4:
        kinds = [EXTRASAMPLE.UNASSALPHA]  # other programs read samples that no tag explains in this way
    kinds += [EXTRASAMPLE.UNSPECIFIED] * (count - colour - len(kinds))
    alpha = next((colour + k for k, kind in enumerate(kinds) if kind in _ALPHA), None)
    others = tuple(colour + k for k, kind in enumerate(kinds) if kind not in _ALPHA)
    associated = alpha is not None and kinds[alpha - colour] == EXTRASAMPLE.ASSOCALPHA
    return Samples(colour, others, alpha, associated)


def _ink_set(page: Any) -> int:
    tag = page.tags.get("InkSet")
    return int(tag.value) if tag is not None else 1


def meaning(page: Any, array: np.ndarray, samples: Samples, channel: int, name: str, notes: list[str]) -> Convert:
    """Return a function that turns stored values (h, w, samples) into gray, gray and opacity, RGB, or RGB and opacity.
    `array`: all stored values. `channel`: 1 for the colour, then the ones in `samples.others`. Raises MicrographError
    as `samples_of` does."""
    if channel > 1:
        other = samples.others[channel - 2]
        return lambda part: _full(part[..., other : other + 1], page)
    colour = _colour(page, array, name)
    alpha = samples.alpha
    if alpha is not None and not array[..., alpha].any():
        notes.append("The transparency channel hides the whole image, so it was ignored.")
        alpha = None
    if alpha is None:
        return lambda part: colour(part[..., : samples.colour])

    def with_alpha(part: np.ndarray) -> np.ndarray:
        seen, opacity = colour(part[..., : samples.colour]), part[..., alpha : alpha + 1]
        if opacity.dtype != seen.dtype:  # colours that became 8 bit
            opacity = (opacity / np.iinfo(opacity.dtype).max * 255 + 0.5).astype(seen.dtype)
        if not samples.associated:
            return np.concatenate((seen, opacity), axis=2)
        if seen.dtype.kind == "f":
            return seen + (1 - opacity)
        most = np.iinfo(seen.dtype).max  # on white, like other transparent pixels
        return np.minimum(seen.astype(np.int64) + (most - opacity.astype(np.int64)), most).astype(seen.dtype)

    return with_alpha


def _full(part: np.ndarray, page: Any) -> np.ndarray:
    """Scale values of fewer than 8 bits to 8 bits."""
    bits = page.bitspersample
    if part.dtype == np.uint8 and isinstance(bits, int) and 1 < bits < 8:
        return (part.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)
    return part


def _colour(page: Any, array: np.ndarray, name: str) -> Convert:
    kind = page.photometric
    if kind == PHOTOMETRIC.PALETTE:
        colours = (cast(np.ndarray, page.colormap).T >> 8).astype(np.uint8)
        return lambda part: colours[part[..., 0]]
    if kind == PHOTOMETRIC.SEPARATED:
        most = np.iinfo(array.dtype).max

        def printed(part: np.ndarray) -> np.ndarray:
            ink = part[..., :4].astype(np.float32) / most
            return ((1 - ink[..., :3]) * (1 - ink[..., 3:4]) * 255 + 0.5).astype(np.uint8)

        return printed
    if kind == PHOTOMETRIC.MINISWHITE:
        return _inverted(page, array)
    if kind in (PHOTOMETRIC.CIELAB, PHOTOMETRIC.ICCLAB) and array.shape[2] >= 3:
        return _lab(kind == PHOTOMETRIC.ICCLAB, array, name)
    if kind == PHOTOMETRIC.YCBCR and getattr(COMPRESSION(page.compression), "name", "") not in _TO_RGB:
        if array.dtype != np.uint8 or page.is_subsampled:
            raise MicrographError(f"{name}: its YCbCr colours are subsampled or do not have 8 bits; save it as RGB.")
        return lambda part: _by_pillow(part, "YCbCr")
    return lambda part: _full(part, page)


def _inverted(page: Any, array: np.ndarray) -> Convert:
    """Invert values whose 0 is white: black is the largest number that the bits of a value can hold."""
    if array.dtype.kind == "b":
        return lambda part: ~part
    if array.dtype.kind == "f":
        return lambda part: -part
    if array.dtype.kind == "i":
        return lambda part: -1 - part  # the smallest becomes the largest
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8 * array.dtype.itemsize
    top = array.dtype.type(2**bits - 1)
    return lambda part: _full(top - part, page)


def _lab(offset: bool, array: np.ndarray, name: str) -> Convert:
    """Convert CIE 1976 L*a*b* of 8 or 16 bits (TIFF 6.0, section 23) to sRGB of 8 bits. `offset`: a and b are unsigned
    (ICC)."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize > 2:
        raise MicrographError(f"{name}: its CIE L*a*b* colours do not have 8 or 16 bits; save it as RGB.")
    profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(*profiles, "LAB", "RGB")

    def seen(part: np.ndarray) -> np.ndarray:
        high = part.view(f"u{part.dtype.itemsize}") if part.dtype.kind == "i" else part
        eight = np.ascontiguousarray(high >> (8 * (part.dtype.itemsize - 1))).astype(np.uint8)
        if offset:
            eight[..., 1:] ^= 0x80  # Pillow stores a and b as TIFF does
        image = Image.frombytes("LAB", eight.shape[1::-1], eight.tobytes())
        return np.asarray(ImageCms.applyTransform(image, transform))

    return seen


def _by_pillow(part: np.ndarray, mode: str) -> np.ndarray:
    part = np.ascontiguousarray(part)
    return np.asarray(Image.frombytes(mode, part.shape[1::-1], part.tobytes()).convert("RGB"))
