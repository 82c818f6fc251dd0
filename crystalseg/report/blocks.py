"""The blocks a report consists of. PDF and HTML show the same blocks in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from reportlab.graphics.shapes import Drawing


@dataclass(frozen=True)
class Heading:
    """A heading; with `new_page` it starts a new page on paper."""

    text: str
    new_page: bool = False


@dataclass(frozen=True)
class Text:
    text: str
    small: bool = False


@dataclass(frozen=True)
class Facts:
    """Pairs of name and value. across: pairs per row; small: for hashes, which then fit on a line."""

    rows: Sequence[tuple[str, object]]
    across: int = 1
    small: bool = False


@dataclass(frozen=True)
class Rows:
    """A table. shares: column widths as shares of the text width, () for equal widths; small: for many columns."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    shares: Sequence[float] = ()
    small: bool = False


@dataclass(frozen=True)
class Pictures:
    """RGB pictures, uint8 (h, w, 3), with captions. across: pictures per row; height: largest height on paper, mm."""

    pictures: Sequence[tuple[np.ndarray, str]]
    across: int = 1
    height: float = 125.0


@dataclass(frozen=True)
class Chart:
    """A vector chart, drawn for the width CHART_POINTS."""

    drawing: Drawing


Block = Heading | Text | Facts | Rows | Pictures | Chart
CHART_POINTS = 493.0  # the text width of A4
