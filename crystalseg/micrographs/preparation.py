"""Prepare an image for a measurement that no person watches: set its pixel size and leave out its data bar."""

from dataclasses import replace

from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.inscriptions import find_data_bar
from crystalseg.micrographs.micrograph import Micrograph, MicrographError

AGREE = 0.05  # pixel sizes that differ by more than this share belong to two magnifications


def prepared(micrograph: Micrograph, calibration: Calibration | None = None, keep_data_bar: bool = False) -> Micrograph:
    """Return the part of an image to measure, with the pixel size of `calibration`, or else the one that its file
    states.

    Raises MicrographError if the file states another pixel size than `calibration`: it may have another magnification.
    """
    if calibration is not None:
        _check_magnification(micrograph, calibration)
        micrograph = replace(micrograph, calibration=calibration)
    bar = None if keep_data_bar else find_data_bar(micrograph.pixels)
    if bar is None:
        return micrograph
    note = f"The data bar below row {bar} was left out."
    return replace(micrograph.crop(0, 0, bar, micrograph.shape[1]), notes=(*micrograph.notes, note))


def _check_magnification(micrograph: Micrograph, calibration: Calibration) -> None:
    own = micrograph.calibration
    if own is not None and abs(own.um_per_px / calibration.um_per_px - 1) > AGREE:
        raise MicrographError(
            f"{micrograph.name}: the file states {own.um_per_px:.4g} µm per pixel, not the {calibration.um_per_px:.4g} "
            f"given ({calibration.source}); measure it with its own pixel size, or with images of its magnification."
        )
