"""Write a report as PDF (reportlab) with searchable text, vector charts and embedded fonts."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import singledispatch
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Image,
    KeepTogether,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from crystalseg.micrographs.names import visible
from crystalseg.report.blocks import CHART_POINTS, Block, Chart, Facts, Heading, Pictures, Rows, Text
from crystalseg.report.content import content
from crystalseg.report.fonts import BOLD, FONT, Typeface, plain, typeface
from crystalseg.report.report import Report

PAGES = {"A4": A4, "Letter": LETTER}
MARGIN = 18 * mm
SMALLEST = 8.5  # pt
WIDEST = 90.0  # pt that a word may claim of a column
SHORT, MANY = 200, 4  # characters of a cell and rows of a table from which a break is ruled
START = 72.0  # pt below a heading that must fit on its page
PADDING = 8  # pt; left and right padding of a table cell together
# No type is smaller than 8.5 pt, and no line of a paragraph stands alone on a page.
_BODY = ParagraphStyle("body", fontName=FONT, fontSize=9.5, leading=12.5, allowWidows=0, allowOrphans=0)
_SMALL = ParagraphStyle("small", _BODY, fontSize=SMALLEST, leading=10.5, textColor=HexColor("#444444"))
_HEAD = ParagraphStyle("head", _BODY, fontName=BOLD, fontSize=12, leading=15, spaceBefore=9, spaceAfter=4)
_TITLE = ParagraphStyle("title", _BODY, fontName=BOLD, fontSize=16, leading=20, spaceAfter=4)
_GRID = TableStyle(
    [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, HexColor("#cccccc")),
        ("TOPPADDING", (0, 0), (-1, -1), 1.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ]
)
# A page break leaves at least two rows on either side. Not for rows that may be taller than a page.
_TOGETHER = TableStyle([("NOSPLIT", (0, 0), (-1, 2)), ("NOSPLIT", (0, -2), (-1, -1))], parent=_GRID)


class _Numbered(Canvas):
    """Writes 'page x of y' and the report's identity on record at the foot of every page, once y is known."""

    footer = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._states: list[dict] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._states.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, state in enumerate(self._states, start=1):
            self.__dict__.update(state)
            self.setFont(FONT, SMALLEST)
            self.drawString(MARGIN, 10 * mm, self.footer)
            self.drawRightString(self._pagesize[0] - MARGIN, 10 * mm, f"page {number} of {len(self._states)}")
            super().showPage()
        super().save()


def build_pdf(report: Report) -> bytes:
    """Return the report as PDF bytes."""
    return typeset(
        report.title,
        content(report),
        report.identity,
        paper=report.details.paper,
        author=visible(report.details.operator) or "crystalseg",
        subject=f"run {report.parts[0].run.id}",
        keywords=str(report.anchor or ""),
    )


def typeset(title: str, blocks: Sequence[Block], footer: str, paper: str = "A4", **facts: str) -> bytes:
    """Return a title and blocks as PDF bytes, with `footer` on every page. facts: document properties, such as its
    author."""
    buffer = io.BytesIO()
    page = PAGES[paper]
    document = SimpleDocTemplate(
        buffer,
        pagesize=page,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=15 * mm,
        bottomMargin=18 * mm,
        title=visible(title),
        creator="crystalseg",
        **facts,
    )
    width = page[0] - 2 * MARGIN - 12  # the frame's own padding
    with typeface("".join(_words([title, *blocks]))) as face:
        story = [_paragraph(title, _TITLE, width, face)]
        for block, below in zip_longest(blocks, blocks[1:]):
            flowables = _set(block, width, face)
            if isinstance(block, Heading):
                flowables = _kept_with(below, flowables)
            story += flowables
        canvas = type("Canvas", (_Numbered,), {"footer": plain(footer)})
        document.build(story, canvasmaker=canvas)
    return buffer.getvalue()


def _kept_with(below: Block | None, heading: list) -> list:
    """Keep a heading on the page of the block below it: with all of a picture or chart, with the start of a text or
    table, which may go on on the next page."""
    if isinstance(below, Pictures | Chart):
        heading[-1].keepWithNext = 1
        return heading
    return [CondPageBreak(START), *heading]


def _words(of: object) -> Iterator[str]:
    """Yield all text in blocks, at any depth."""
    if isinstance(of, str):
        yield of
    elif isinstance(of, list | tuple):
        for part in of:
            yield from _words(part)
    elif is_dataclass(of):
        for field in fields(of):
            yield from _words(getattr(of, field.name))


def _paragraph(text: object, style: ParagraphStyle, width: float, face: Typeface) -> Paragraph:
    return Paragraph(face.markup(text, style.fontName, style.fontSize, width), style)


@singledispatch
def _set(block: Block, width: float, face: Typeface) -> list:
    """Return the reportlab flowables of a block, `width` points wide."""
    raise TypeError(type(block))


@_set.register
def _(block: Heading, width: float, face: Typeface) -> list:
    heading = _paragraph(block.text, _HEAD, width, face)
    return [PageBreak(), heading] if block.new_page else [heading]


@_set.register
def _(block: Text, width: float, face: Typeface) -> list:
    # unlike a spacer, space after a paragraph never starts a page
    style = ParagraphStyle("text", _SMALL if block.small else _BODY, spaceAfter=3)
    return [_paragraph(block.text, style, width, face)]


@_set.register
def _(block: Facts, width: float, face: Typeface) -> list:
    part = width / block.across
    left = (0.23 if block.small else 0.27) * part
    right = part - left
    style = _SMALL if block.small else _BODY
    cells = [
        [_paragraph(name, _SMALL, left - PADDING, face), _paragraph(value, style, right - PADDING, face)]
        for name, value in block.rows
    ]
    down = -(-len(cells) // block.across)
    blank = _paragraph("", style, right, face)  # a cell of plain text would take a font that is not embedded
    cells += [[blank, blank]] * (down * block.across - len(cells))
    rows = [[cell for j in range(block.across) for cell in cells[k + down * j]] for k in range(down)]
    return [Table(rows, colWidths=(left, right) * block.across, style=_GRID, spaceAfter=4, splitInRow=1)]


@_set.register
def _(block: Rows, width: float, face: Typeface) -> list:
    n = len(block.header)
    shares = block.shares or [1 / n] * n
    style = _SMALL
    head = ParagraphStyle("column", style, fontName=BOLD)
    widths = _widths(block, [share * width for share in shares])
    rows = [(head, block.header), *((style, row) for row in block.rows)]
    cells = [
        [_paragraph(cell, look, room - PADDING, face) for cell, room in zip(row, widths, strict=True)]
        for look, row in rows
    ]
    short = all(len(cell) <= SHORT for _, row in rows for cell in row)
    grid = _TOGETHER if short and len(cells) > MANY else _GRID
    return [Table(cells, colWidths=widths, style=grid, repeatRows=1, spaceAfter=4, splitInRow=1)]


def _widths(block: Rows, wanted: list[float]) -> list[float]:
    """Return the widths of columns, of the same sum, in which no word is broken, if there is room for that."""
    needed = [
        PADDING
        + min(WIDEST, max(stringWidth(word, BOLD, SMALLEST) for cell in column for word in cell.split() or [""]))
        for column in zip(block.header, *block.rows, strict=True)
    ]
    missing = sum(max(0.0, need - width) for need, width in zip(needed, wanted, strict=True))
    spare = [max(0.0, width - need) for need, width in zip(needed, wanted, strict=True)]
    if missing > sum(spare):
        return wanted
    given = missing / sum(spare) if missing else 0.0
    return [max(need, width) - given * free for need, width, free in zip(needed, wanted, spare, strict=True)]


@_set.register
def _(block: Pictures, width: float, face: Typeface) -> list:
    room = width / block.across - 4
    cells = [
        [_picture(pixels, room, block.height * mm), *([_paragraph(caption, _SMALL, room, face)] if caption else [])]
        for pixels, caption in block.pictures
    ]
    if block.across == 1:
        return [KeepTogether([*one, Spacer(1, 3)]) for one in cells]
    rows = [cells[k : k + block.across] for k in range(0, len(cells), block.across)]
    rows[-1] += [[]] * (block.across - len(rows[-1]))
    flush = TableStyle([("LEFTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "TOP")])
    return [Table(rows, colWidths=[width / block.across] * block.across, style=flush, spaceAfter=3)]


@_set.register
def _(block: Chart, width: float, face: Typeface) -> list:
    factor = min(1.0, width / CHART_POINTS)
    drawing = block.drawing
    drawing.renderScale = factor
    return [drawing, Spacer(1, 4)]


def _picture(pixels: np.ndarray, width: float, height: float) -> Image:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "JPEG", quality=90)
    buffer.seek(0)
    factor = min(width / pixels.shape[1], height / pixels.shape[0])
    return Image(buffer, pixels.shape[1] * factor, pixels.shape[0] * factor)
