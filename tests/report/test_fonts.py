"""Names in any script, in every form of a report."""

import io
import re
from dataclasses import replace

import openpyxl
import pytest
from reportlab.pdfbase import pdfmetrics

from crystalseg.report.fonts import FONT, Typeface, plain, typeface
from crystalseg.report.html import build_html
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import Details, report_of
from crystalseg.report.workbook import build_workbook
from tests.report.report_cases import case, text_of

SCRIPTS = "Δοκίμιο Образец 炼钢厂 試料 시료"


def report(**details):
    micrograph, found, measurement, run = case()
    name = details.pop("name", micrograph.name)
    return report_of(micrograph, found, measurement, replace(run, image_name=name), None, Details(**details))


def test_every_script_is_in_the_pdf_with_fonts_of_its_own():
    before = set(pdfmetrics._fonts)
    reader, pages = text_of(build_pdf(report(sample=SCRIPTS, name=f"{SCRIPTS}.tif")))
    text = re.sub(r"\s+", " ", " ".join(pages))
    assert SCRIPTS in text
    assert f"{SCRIPTS}.tif" in text
    fonts = [f.get_object() for page in reader.pages for f in page["/Resources"]["/Font"].values()]
    assert all("/FontFile2" in f["/FontDescriptor"] for f in fonts if f["/Subtype"] == "/TrueType")
    assert set(pdfmetrics._fonts) == before  # what a report needed is not kept for ever


def test_what_no_font_has_is_written_as_its_code():
    assert plain("ice 🧊") == "ice [U+1F9CA]"
    with typeface("🧊晶") as face:
        assert face.markup("🧊晶", FONT, 9, 400) == f'[U+1F9CA]<font name="{face.fallback}">晶</font>'


def test_lines_from_right_to_left_are_drawn_from_right_to_left():
    # logical order aleph, bet, 1, 2: drawn from the left, digits first and as they were
    assert plain("\u05d0\u05d1 12") == "12 \u05d1\u05d0"
    assert plain("x \u05d0\u05d1 y") == "x \u05d1\u05d0 y"
    lines = Typeface().markup("\u05d0" * 9 + " " + "\u05d1" * 9, FONT, 10, 80).split("<br/>")
    assert lines == ["\u05d0" * 9, "\u05d1" * 9]  # the first line stays the first


def test_markup_is_text():
    assert Typeface().markup("<b>&", FONT, 9, 100) == "&lt;b&gt;&amp;"


NASTY = {
    "markup": "<script>alert(1)</script><b>&amp;",
    "formula": "=HYPERLINK(1)",
    "plus": "+1",
    "at": "@SUM(1)",
    "direction": "a\u202egnp.exe",
    "lines": "a\r\nb",
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "emoji": "\U0001f9ca\U0001f600",
    "long": "x" * 10_000,
}


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_names_are_text_in_every_report(name):
    made = report(sample=name, operator=name, remarks=name, name=name)
    text_of(build_pdf(made))
    html = build_html(made).decode()
    assert "<script>alert" not in html
    assert "\u202e" not in html
    book = openpyxl.load_workbook(io.BytesIO(build_workbook(made)))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert not [cell for cell in cells if cell.data_type == "f"]
