"""Round figures for people: a value and its uncertainty together, without exponents."""

import math

import numpy as np

NO_BREAK = "\u00a0"
U_DIGITS = 2  # significant digits of an uncertainty (GUM 7.2.6)
GROUPED_FROM = 10_000  # shorter numbers are not split into groups of three (ISO 80000-1, 7.3.1)


def place(value: float, digits: int) -> int:
    """Return how many decimals show `digits` significant digits of a value: negative for tens, hundreds and so on."""
    if not value or not math.isfinite(value):
        return 0
    return digits - 1 - int(f"{abs(value):.{digits - 1}e}".partition("e")[2])


def decimal(value: float, decimals: int) -> str:
    """Return a number with a fixed number of decimals (negative: rounded to tens, hundreds …), as text without
    exponent. A no-break space separates groups of three digits from 10 000 on. A value that is not finite is "–"."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, decimals) + 0.0  # no negative zero
    text = f"{rounded:,.{max(decimals, 0)}f}"
    return text.replace(",", NO_BREAK if abs(rounded) >= GROUPED_FROM else "")


def significant(value: float, digits: int = 4) -> str:
    """Return a number with `digits` significant digits as text without exponent."""
    return decimal(value, place(value, digits))


def exact(value: float) -> str:
    """Return a number as text without exponent that reads back as the same number."""
    return np.format_float_positional(value, trim="-")


def at_most(value: float, digits: int = 5) -> str:
    """Return a stated number, such as a pixel size, to at most `digits` significant digits, without final zeros."""
    return exact(float(f"{value:.{digits}g}"))


def together(value: float, expanded: float, digits: int = U_DIGITS) -> tuple[str, str]:
    """Return a value and its uncertainty, both rounded to the decimal of the uncertainty's last significant digit
    (GUM 7.2.6).

    A value that is smaller than its uncertainty keeps one decimal more if it has no second digit without it. If the
    uncertainty is 0 or not finite, the value has four significant digits.
    """
    if not math.isfinite(expanded) or expanded <= 0:
        return significant(value), decimal(expanded, 0)
    decimals = place(expanded, digits)
    return decimal(value, max(decimals, min(place(value, 2), decimals + 1))), decimal(expanded, decimals)
