"""How much of an image is looked at how finely: detect first, refine what is critical.

The review of deep learning for microscopy (outlook, below figure 3.1) would have a fast model find what is there at
reduced resolution, and a better one do the critical parts again. Here one network does both, at two resolutions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

ENLARGED = 2.0  # the resize factor at which small crystals are looked at again
FIRST = 0.25  # the finest factor at which all of an image is seen, with less than a thorough effort
LEAST_CONFIDENCE = 0.02  # of proposals that make a place doubtful


@dataclass(frozen=True)
class Effort:
    """words: what the network looks at, in a few. doubt: crystals of less confidence are looked at more finely, None
    for everything; width: so are those narrower than this (square root of the area), px at the resolution they were
    found at; enlarges: whether small crystals are looked at enlarged, too."""

    words: str
    doubt: float | None = None
    width: float = 0.0
    enlarges: bool = True


EFFORTS = {
    "quick": Effort("all at a quarter of the resolution, doubtful and tiny crystals more finely", 0.3, 10, False),
    "balanced": Effort("all at a quarter of the resolution, doubtful and small crystals more finely", 0.5, 20),
    "thorough": Effort("all at every resolution"),
}


def divided(factors: Sequence[float], effort: Effort, enlarges: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The resize factors at which all of an image is seen, at least one, and those at which only some places may be;
    both ascend, as `factors` do. enlarges: whether it may be enlarged, too."""
    whole = sum(effort.doubt is None or factor <= FIRST for factor in factors) or 1
    more = (ENLARGED,) if enlarges and effort.enlarges else ()
    return tuple(factors[:whole]), (*factors[whole:], *more)
