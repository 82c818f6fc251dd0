"""Numbers as people type them, with a decimal point or comma."""

from crystalseg.errors import UserError
from crystalseg.measurement.rounding import exact
from crystalseg.micrographs.units import number


def read(text: str, label: str, least: float = 0.0, most: float = float("inf")) -> float | None:
    """Return the number in a text with a decimal point or comma, or None if the text is empty. Raises UserError if it
    is not a number from `least` to `most`."""
    if not text.strip():
        return None
    value = number(text)
    if value != value:
        raise UserError(f"{label}: “{text.strip()}” is not a number. Write it as 0.05 or 0,05.")
    if not least <= value <= most:
        limits = f"from {exact(least)} to {exact(most)}" if most < float("inf") else f"{exact(least)} or more"
        raise UserError(f"{label}: {exact(value)} cannot be used. The number must be {limits}.")
    return value
