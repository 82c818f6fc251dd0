"""Effort: which parts of an image the network looks at at which resolution. Detect first, refine what is critical.

The review of deep learning for microscopy (outlook, below figure 3.1) proposes a fast model that detects at reduced
resolution and a better model that repeats the critical parts. Here one network does both, at two resolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ENLARGED = 2.0  # resize factor for a second look at small crystals
FIRST = 0.25  # finest factor for the whole image, unless the effort is thorough
LEAST_CONFIDENCE = 0.02  # of the proposals that make a place doubtful


@dataclass(frozen=True)
class Effort:
    """How finely the network looks. words: a short description; doubt: crystals with a lower confidence are looked at
    more finely, None for the whole image; width: crystals narrower than this (square root of the area) are too, px at
    the resolution where they were found; enlarges: whether small crystals are also looked at enlarged."""

    words: str
    doubt: float | None = None
    width: float = 0.0
    enlarges: bool = True


EFFORTS = {
    "quick": Effort(
        "whole image at a quarter of the resolution, doubtful and tiny crystals more finely", 0.3, 10, False
    ),
    "balanced": Effort("whole image at a quarter of the resolution, doubtful and small crystals more finely", 0.5, 20),
    "thorough": Effort("whole image at every resolution"),
}


def divided(factors: Sequence[float], effort: Effort, enlarges: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the resize factors for the whole image, at least one, and those for some places only. Both ascend, as
    `factors` do. enlarges: whether the second may include an enlargement."""
    whole = sum(effort.doubt is None or factor <= FIRST for factor in factors) or 1
    more = (ENLARGED,) if enlarges and effort.enlarges else ()
    return tuple(factors[:whole]), (*factors[whole:], *more)
