"""Write a report as PDF (reportlab) with searchable text, vector charts and embedded fonts."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from PIL import Image as PillowImage
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, KeepTogether, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from crystalseg.micrographs.names import visible
from crystalseg.report.blocks import CHART_POINTS, Block, Chart, Facts, Heading, Pictures, Rows, Text
from crystalseg.report.content import content
from crystalseg.report.fonts import BOLD, FONT, Typeface, plain, typeface
from crystalseg.report.report import Report

PAGES = {"A4": A4, "Letter": LETTER}
MARGIN = 18 * mm
PADDING = 8  # pt; left and right padding of a table cell together
MANY_COLUMNS = 9  # tables with more columns are set even smaller
_BODY = ParagraphStyle("body", fontName=FONT, fontSize=8.5, leading=11.5)
_SMALL = ParagraphStyle("small", _BODY, fontSize=7, leading=9.5, textColor=HexColor("#444444"))
_TINY = ParagraphStyle("tiny", _SMALL, fontSize=6, leading=8)
_HEAD = ParagraphStyle("head", _BODY, fontName=BOLD, fontSize=11, leading=15, spaceBefore=9, spaceAfter=4)
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
            self.setFont(FONT, 6.5)
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
        for block in blocks:
            story += _set(block, width, face)
        canvas = type("Canvas", (_Numbered,), {"footer": plain(footer)})
        document.build(story, canvasmaker=canvas)
    return buffer.getvalue()


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
    # a heading stays with the block below it, or starts a new page
    heading = _paragraph(block.text, ParagraphStyle("kept", _HEAD, keepWithNext=1), width, face)
    return [PageBreak(), heading] if block.new_page else [heading]


@_set.register
def _(block: Text, width: float, face: Typeface) -> list:
    # unlike a spacer, space after a paragraph never starts a page
    style = ParagraphStyle("text", _SMALL if block.small else _BODY, spaceAfter=3)
    return [_paragraph(block.text, style, width, face)]


@_set.register
def _(block: Facts, width: float, face: Typeface) -> list:
    left, right = 0.27 * width, 0.73 * width
    cells = [
        [_paragraph(name, _SMALL, left - PADDING, face), _paragraph(value, _BODY, right - PADDING, face)]
        for name, value in block.rows
    ]
    return [Table(cells, colWidths=(left, right), style=_GRID, spaceAfter=4, splitInRow=1)]


@_set.register
def _(block: Rows, width: float, face: Typeface) -> list:
    n = len(block.header)
    shares = block.shares or [1 / n] * n
    style = _TINY if n > MANY_COLUMNS else _SMALL
    head = ParagraphStyle("column", style, fontName=BOLD)
    widths = [share * width for share in shares]
    rows = [(head, block.header), *((style, row) for row in block.rows)]
    cells = [
        [_paragraph(cell, look, room - PADDING, face) for cell, room in zip(row, widths, strict=True)]
        for look, row in rows
    ]
    return [Table(cells, colWidths=widths, style=_GRID, repeatRows=1, spaceAfter=4, splitInRow=1)]


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
