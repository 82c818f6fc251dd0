"""The pixel size: read from a file's metadata where it is credible, or given by hand. It is never guessed."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crystalseg.errors import UserError
from crystalseg.micrographs.names import visible
from crystalseg.micrographs.units import is_no_unit, um_in

# Resolution tags coarser than this describe a screen or printer (72 to 2400 dpi), not a microscope.
COARSEST_TAG_UM = 10.0
READING = 1.0  # the largest error, px, in reading one end of a scale bar


class NotSquareError(UserError):
    """A file states pixels that are not square. The message is a sentence that says what to do."""


@dataclass(frozen=True)
class Calibration:
    """The pixel size of an image. um_per_px: side of a pixel, µm. source: where it comes from, in words for the report.
    uncertainty: relative standard uncertainty of um_per_px, or None if nobody has stated one."""

    um_per_px: float
    source: str
    uncertainty: float | None = None

    def __post_init__(self) -> None:
        if self.uncertainty is not None and not (math.isfinite(self.uncertainty) and 0 <= self.uncertainty < 1):
            raise UserError("The uncertainty of the pixel size must be between 0 and 100 %.")
        if not (math.isfinite(self.um_per_px) and self.um_per_px > 0):
            raise UserError("The pixel size must be a positive number of µm per pixel.")


def from_um_per_px(value: float, percent: float | None = None) -> Calibration:
    """Make a calibration from µm per pixel, as `by_hand` does."""
    return by_hand("µm per pixel", value, 1, percent)


# How a person may state the pixel size: µm per pixel from the number `v` and the image's width `w`, px.
BY_HAND: Mapping[str, Callable[[float, int], float]] = {
    "µm per pixel": lambda v, w: v,
    "nm per pixel": lambda v, w: v / 1000,
    "pixels per µm": lambda v, w: 1 / v,
    "pixels per mm": lambda v, w: 1000 / v,
    "image width, nm": lambda v, w: v / 1000 / w,
    "image width, µm": lambda v, w: v / w,
    "image width, mm": lambda v, w: 1000 * v / w,
}


def by_hand(stated_as: str, value: float, width: int, percent: float | None = None) -> Calibration:
    """Make a calibration from a number that a person states.

    stated_as: a key of BY_HAND. The image width is the horizontal field width that microscopes show, without any crop.
    width: of the whole image, px. percent: the standard uncertainty of `value` in %, or None if it is not known.
    """
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"The number of {stated_as} must be positive.")
    way, _, unit = stated_as.partition(", ")
    source = f"{way} of {value:g} {unit}, entered by hand" if unit else f"entered by hand as {way}"
    return Calibration(BY_HAND[stated_as](value, width), source, None if percent is None else percent / 100)


def from_scale_bar(
    length_um: float, start: tuple[float, float], end: tuple[float, float], length_uncertainty_um: float | None = None
) -> Calibration:
    """Make a calibration from a scale bar of length `length_um`, µm, between `start` and `end`, (x, y) px.

    The uncertainty covers two errors. Each end is off by up to READING px, evenly distributed (GUM 4.3.7). The length
    is off by the standard uncertainty `length_uncertainty_um`, µm, that a certificate states. If it is None, the
    uncertainty of the length is not known, so that of the pixel size is not known either; 0 states that the length is
    exact.
    """
    span = math.dist(start, end)
    if span < 2:
        raise UserError("The two ends of the scale bar are at the same place; mark its left and its right end.")
    if not (math.isfinite(length_um) and length_um > 0):
        raise UserError("The scale bar's length must be a positive number of µm.")
    relative = None
    if length_uncertainty_um is not None:
        if not (math.isfinite(length_uncertainty_um) and length_uncertainty_um >= 0):
            raise UserError("The uncertainty of the length must be a number of µm, 0 or more.")
        relative = math.hypot(READING * math.sqrt(2 / 3) / span, length_uncertainty_um / length_um)
    return Calibration(length_um / span, f"scale bar of {length_um:g} µm, {span:.1f} px long", relative)


def one_size(x: float | None, y: float | None, source: str) -> Calibration | None:
    """Return a calibration if both sides are known and positive. Raises NotSquareError if they differ by more
    than 1 %."""
    try:
        x, y = float(x or "nan"), float(y or "nan")
    except (TypeError, ValueError):
        return None
    if not (math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0):
        return None
    if abs(x - y) > 0.01 * x:
        raise NotSquareError(
            f"The pixels of {x:.4g} × {y:.4g} µm ({source}) are not square; resample the image to square pixels."
        )
    return Calibration(x, source)


def from_resolution(x: float, y: float, unit: str, source: str = "resolution tags") -> Calibration | None:
    """Return a calibration from pixels per `unit`, or None if the unit is not a length or if the resolution is so
    coarse that it only describes printing. Raises NotSquareError if the pixels are not square."""
    um = um_in(unit)
    if um is None or not (x > 0 and y > 0) or um / x >= COARSEST_TAG_UM:
        return None
    return one_size(um / x, um / y, source)


def known_unit(unit: str, notes: list[str]) -> float | None:
    """Return the µm in a `unit` that a file states. Return None for an unknown unit, and add a note if it is meant as
    one."""
    um = um_in(unit)
    if um is None and not is_no_unit(unit):
        notes.append(
            f"The pixel size is stated in “{visible(unit)[:40]}”, which is not a known unit of length; enter it by "
            "hand."
        )
    return um


def stated(read: Callable[[], Calibration | None], notes: list[str]) -> Calibration | None:
    """Return the pixel size that a file states, as `read` finds it. If its pixels are not square, return None and add a
    note that says why."""
    try:
        return read()
    except NotSquareError as error:
        notes.append(str(error))
        return None


def from_zarr(image: Mapping[str, Any], names: Sequence[str], notes: list[str]) -> Calibration | None:
    """Return the pixel size of an OME-Zarr image from the one of its `multiscales` whose axes have these names: the
    scale of its finest level. Notes are added as by `known_unit`. Raises NotSquareError if the pixels are not square.
    """
    try:
        units = {axis["name"]: axis.get("unit", "") for axis in image["axes"]}
        steps = [1.0] * len(names)
        for part in (*image["datasets"][0]["coordinateTransformations"], *image.get("coordinateTransformations", ())):
            if part["type"] == "scale":
                steps = [a * float(b) for a, b in zip(steps, part["scale"], strict=True)]
        um = {str(units[axis]): known_unit(str(units[axis]), notes) for axis in dict.fromkeys("xy")}
        sizes = [steps[names.index(axis)] * (um[str(units[axis])] or math.nan) for axis in "xy"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return one_size(sizes[0], sizes[1], "OME-Zarr metadata")
