"""Calibrations of instruments on record, by name. Each is measured once on a certified length and used for later
images."""

import datetime
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.micrographs.calibration import Calibration
from crystalseg.record import ledger


@dataclass(frozen=True)
class Instrument:
    """A calibration of an instrument.

    name: The instrument with its objective or magnification.
    um_per_px: The pixel size.
    uncertainty: The relative standard uncertainty of the pixel size, or None.
    date: The date of the calibration, ISO 8601.
    length_um, length_uncertainty_um: The certified length and its standard uncertainty, or None.
    certificate: The number of the certificate, or "".
    """

    name: str
    um_per_px: float
    uncertainty: float | None
    date: str
    length_um: float | None = None
    length_uncertainty_um: float | None = None
    certificate: str = ""

    def __post_init__(self) -> None:
        if not 0 < len(self.name.strip()) <= 60:
            raise UserError("A calibration needs a name of 1 to 60 characters, such as 'SEM 2, 500 ×'.")
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError as error:
            raise UserError("Write the date of a calibration as 2026-01-31.") from error
        self.calibration()

    def calibration(self) -> Calibration:
        """Return the calibration of an image taken with this instrument."""
        words = f"{self.name}, calibrated {self.date}"
        if self.length_um:
            words += f" on {self.length_um:g} µm"
        if self.certificate:
            words += f", certificate {self.certificate}"
        return Calibration(self.um_per_px, words, self.uncertainty)


def save(engine: Engine, instrument: Instrument, who: str = "") -> None:
    """Put a calibration on record. The latest one of a name is used; earlier ones stay in the record."""
    ledger.append(engine, "calibration", instrument.name, asdict(instrument), who)


def find(engine: Engine, name: str) -> Instrument:
    """Return the calibration of that name. Raises UserError, which lists the existing names."""
    saved = instruments(engine)
    if name not in saved:
        raise UserError(f"There is no calibration '{name}'. Calibrations on record: {', '.join(saved) or 'none'}.")
    return saved[name]


def instruments(engine: Engine) -> dict[str, Instrument]:
    """Return the latest calibration of each name."""
    return {e.subject: Instrument(**e.body) for e in ledger.entries(engine, "calibration")}
