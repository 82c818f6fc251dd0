"""Calibrations of instruments by name, on record: measured once on a certified length, used for every image after."""

import datetime
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.micrographs.calibration import Calibration
from crystalseg.record import ledger


@dataclass(frozen=True)
class Instrument:
    """name: of instrument and objective, or magnification; um_per_px; uncertainty: relative standard uncertainty of it,
    or None; date: ISO, of the calibration; length_um, length_uncertainty_um: the certified length and its standard
    uncertainty, or None; certificate: its number."""

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
            raise UserError("The date of a calibration is written as 2026-01-31.") from error
        self.calibration()

    def calibration(self) -> Calibration:
        """For an image taken with it."""
        words = f"{self.name}, calibrated {self.date}"
        if self.length_um:
            words += f" on {self.length_um:g} µm"
        if self.certificate:
            words += f", certificate {self.certificate}"
        return Calibration(self.um_per_px, words, self.uncertainty)


def save(engine: Engine, instrument: Instrument, who: str = "") -> None:
    """Put a calibration on record; the latest of a name is used, earlier ones stay in the record."""
    ledger.append(engine, "calibration", instrument.name, asdict(instrument), who)


def find(engine: Engine, name: str) -> Instrument:
    """The calibration of that name; UserError names those there are."""
    saved = instruments(engine)
    if name not in saved:
        raise UserError(f"There is no calibration '{name}'; there are: {', '.join(saved) or 'none'}.")
    return saved[name]


def instruments(engine: Engine) -> dict[str, Instrument]:
    """The latest calibration of each name."""
    return {e.subject: Instrument(**e.body) for e in ledger.entries(engine, "calibration")}
