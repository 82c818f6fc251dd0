"""Set text of any script in PDF reports, with embedded fonts.

DejaVu Sans covers Latin, Greek, Cyrillic, Hebrew, Arabic and many symbols. Other glyphs come from Noto Sans CJK. Each
report gets its own subset font with the Noto glyphs it needs, because reportlab embeds only TrueType outlines. A
character that neither font has is written as its code, U+….
"""

import io
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from unicodedata import bidirectional
from xml.sax.saxutils import escape

from arabic_reshaper import reshape
from bidi import get_display
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont as Outlines
from fontTools.ttLib import newTable
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

from crystalseg.micrographs.names import visible

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
_SHAPE = 1.0  # largest deviation of a TrueType outline from the original, in 1/1000 em


def _package(name: str) -> Path:
    """Return the folder of a package without importing the package."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


FILES = {name: _package("matplotlib") / "mpl-data" / "fonts" / "ttf" / f"{name}.ttf" for name in (FONT, BOLD)}
for _name, _file in FILES.items():
    pdfmetrics.registerFont(TTFont(_name, str(_file)))
_COVERED = pdfmetrics.getFont(FONT).face.charToGlyph
# Fields that the maxp table of a TrueType font must contain; fontTools computes them on saving.
_MAXIMA = (
    *("maxZones", "maxTwilightPoints", "maxStorage", "maxFunctionDefs", "maxInstructionDefs", "maxStackElements"),
    *("maxSizeOfInstructions", "maxComponentElements", "maxPoints", "maxContours", "maxCompositePoints"),
    *("maxCompositeContours", "maxComponentDepth"),
)
_lock = threading.Lock()  # only one thread at a time may read and subset the source


def _source() -> Outlines:
    return Outlines(_package("mplfonts") / "fonts" / "NotoSansCJKsc-Regular.otf", lazy=True)


@cache
def _covered_by_noto() -> frozenset[int]:
    with _source() as font:
        return frozenset(font.getBestCmap())


class Typeface:
    """Sets text for reportlab paragraphs in DejaVu, with single characters in `fallback`, the name of a registered
    font."""

    def __init__(self, fallback: str = "", characters: frozenset[str] = frozenset()):
        self.fallback, self.characters = fallback, characters

    def markup(self, text: object, font: str, points: float, width: float) -> str:
        """Return the markup of a paragraph `width` points wide. Right-to-left lines are broken here, because breaking
        must happen before their letters are put into drawing order."""
        shown = visible(text)
        lines = [shown]
        if _turns(shown):
            lines = simpleSplit(reshape(shown), font, points, width)
        return "<br/>".join(self._runs(get_display(line) if _turns(line) else line) for line in lines)

    def _runs(self, line: str) -> str:
        parts = []
        for kind, run in groupby(line, self._kind):
            text = "".join(run)
            if kind == "code":
                text = _code(text)
            parts.append(f'<font name="{self.fallback}">{escape(text)}</font>' if kind == "other" else escape(text))
        return "".join(parts)

    def _kind(self, character: str) -> str:
        if ord(character) in _COVERED:
            return "own"
        return "other" if character in self.characters else "code"


def _turns(text: str) -> bool:
    """Return whether any part of the text runs from right to left."""
    return any(bidirectional(c) in ("R", "AL", "AN") for c in text)


def plain(text: object) -> str:
    """Return one line of text in drawing order, for charts, which use DejaVu alone."""
    shown = "".join(c if ord(c) in _COVERED else _code(c) for c in visible(text))
    return get_display(reshape(shown)) if _turns(shown) else shown


def _code(text: str) -> str:
    return "".join(f"[U+{ord(c):04X}]" for c in text)


@contextmanager
def typeface(text: str) -> Iterator[Typeface]:
    """Provide the typeface for a report that contains `text`; its fallback font is unregistered afterwards."""
    missing = {c for c in visible(text) if ord(c) not in _COVERED}
    if missing:
        with _lock:
            missing = {c for c in missing if ord(c) in _covered_by_noto()}
    if not missing:
        yield Typeface()
        return
    name = f"fallback-{uuid.uuid4().hex}"
    with _lock:
        pdfmetrics.registerFont(TTFont(name, io.BytesIO(_true_type("".join(missing)))))
    try:
        yield Typeface(name, frozenset(missing))
    finally:
        pdfmetrics._fonts.pop(name, None)


def _true_type(characters: str) -> bytes:
    """Return Noto's glyphs of these characters as a TrueType font, with cubic outlines converted to quadratic ones."""
    with _source() as font:
        subsetter = Subsetter(Options(layout_features=[], hinting=False, notdef_outline=True, drop_tables=["BASE"]))
        subsetter.populate(text=characters)
        subsetter.subset(font)
        drawn, glyphs = font.getGlyphSet(), {}
        for name in font.getGlyphOrder():
            pen = TTGlyphPen(None)
            drawn[name].draw(Cu2QuPen(pen, _SHAPE, reverse_direction=True))
            glyphs[name] = pen.glyph()
        font["loca"], font["glyf"] = newTable("loca"), newTable("glyf")
        font["glyf"].glyphOrder, font["glyf"].glyphs = font.getGlyphOrder(), glyphs
        del font["CFF "]
        for tag in ("VORG", "GSUB", "GPOS", "GDEF"):
            if tag in font:
                del font[tag]
        most = font["maxp"]
        most.tableVersion = 0x00010000
        for field in _MAXIMA:
            setattr(most, field, 1 if field == "maxZones" else 0)
        font["post"].formatType = 3.0
        font.sfntVersion = "\x00\x01\x00\x00"
        buffer = io.BytesIO()
        font.save(buffer)
        return buffer.getvalue()
