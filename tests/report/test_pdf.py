import io
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from reportlab.pdfbase.pdfmetrics import stringWidth

from crystalseg.evaluation.comparison import Compared, as_text, compare
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.report.blocks import Rows
from crystalseg.report.pdf import _widths, build_pdf
from crystalseg.report.report import Details, make, report_of
from crystalseg.report.words import corrections_words, size_rows
from crystalseg.segmentation.corrections.correction import Correction
from tests.report.report_cases import DRAWN, VALIDATED, case, pdf, sample, text_of


@pytest.mark.parametrize(("paper", "size"), [("A4", (595, 842)), ("Letter", (612, 792))])
def test_pdf_says_what_was_measured(paper, size):
    micrograph, found, measurement, run = case()
    details = Details(sample="Batch 7 <hot & cold>", operator="A. Müller", paper=paper)
    reader, pages = text_of(pdf(micrograph, found, measurement, run, details))
    text = re.sub(r"\s+", " ", " ".join(pages))
    for words in (
        "Batch 7 <hot & cold>",
        "A. Müller",
        "ab" * 32,
        "cd" * 32,
        run.id,
        "A note.",
        "0.5 µm per pixel",
        "Miles–Lantuéjoul",
        "Number-weighted",
        "Area-weighted",
        "End of report",
    ):
        assert words in text
    average = report_of(micrograph, found, measurement, run, None).assessment.budgets["mean"]
    for name, value in size_rows(measurement.summary, average):
        assert name in text
        assert value in text
    for nth, page in enumerate(pages, start=1):
        assert f"page {nth} of {len(pages)}" in page
        assert run.id in page
    assert tuple(map(round, reader.pages[0].mediabox[2:])) == size
    fonts = [f.get_object() for page in reader.pages for f in page["/Resources"]["/Font"].values()]
    assert all("/FontFile2" in f["/FontDescriptor"] for f in fonts if f["/Subtype"] == "/TrueType")


def test_pdf_without_calibration_speaks_of_pixels_only():
    micrograph, found, measurement, run = case(um_per_px=None)
    _, pages = text_of(pdf(micrograph, found, measurement, run))
    assert "all sizes in pixels" in pages[0]
    assert "µm" not in " ".join(pages)


def test_pdf_without_crystals_says_so():
    micrograph, found, measurement, run = case(labels=np.zeros_like(DRAWN.labels))
    assert measurement.summary is None
    _, pages = text_of(pdf(micrograph, found, measurement, run))
    assert "No crystal was counted" in " ".join(pages)


def test_pdf_lists_every_correction_and_who_made_it():
    micrograph, found, measurement, run = case()
    log = [
        Correction("merge", (1, 2), who="A. Kern", when="2026-01-02T03:04:05+00:00"),
        Correction("mark", (3,), mark="pore", who="B. Alt <ß>", when="2026-01-02T03:05:00+00:00"),
    ]
    run = replace(run, corrections=[c.to_dict() for c in log])
    _, pages = text_of(pdf(micrograph, found, measurement, run))
    text = re.sub(r"\s+", " ", " ".join(pages))
    assert "2 corrections by hand, by A. Kern and B. Alt <ß>" in pages[0].replace("\n", " ")
    for words in ("2026-01-02 03:04:05 UTC, A. Kern", "merged 1, 2", "marked 3 as pore"):
        assert words in text
    assert corrections_words(log[:1]) == "1 correction by hand, by A. Kern"
    _, plain = text_of(pdf(micrograph, found, measurement, replace(run, corrections=[])))
    assert "Correct" not in " ".join(plain)


def test_pdf_shows_a_comparison_with_every_figure_of_its_tables():
    micrograph, found, measurement, run = case()
    fewer = np.where(found.labels == 1, 0, found.labels)
    compared = [
        Compared("sima-plus", found.labels, measurement.crystals, 2.0),
        Compared("watershed", fewer, measure_crystals(fewer, 0.5, np.ones(fewer.max())), 0.1),
    ]
    comparison = compare(compared, "exclude", DRAWN.labels)
    _, pages = text_of(pdf(micrograph, found, measurement, run, comparison=comparison))
    page = next(p for p in pages if "Comparison of methods" in p)
    text = re.sub(r"\s+", " ", " ".join(pages[pages.index(page) :]))
    for heading, table in comparison.tables.items():
        assert heading in text
        for row in as_text(table)[1:]:
            assert all(cell in text for cell in row)


@settings(max_examples=5)
@given(st.text(max_size=200), st.text(max_size=2000))
def test_any_text_of_the_users_makes_a_pdf(sample, remarks):
    micrograph, found, measurement, run = case()
    _, pages = text_of(pdf(micrograph, found, measurement, run, Details(sample=sample, remarks=remarks)))
    # and none of it is lost, wherever lines are broken
    paper = re.sub(r"\s+", "", "".join(pages))
    for word in re.findall(r"[!-~]{1,40}", f"{sample} {remarks}"):
        assert word in paper


def test_the_first_page_of_a_customers_report_holds_all_from_verdict_to_signature():
    parts, profile = sample()
    details = Details(sample="S 7", company="Gießerei", customer="Hütte", operator="A. Kern", preset="customer")
    _, pages = text_of(build_pdf(make(parts[:1], VALIDATED, details, profile)))
    assert len(pages) == 2
    for words in ("Verdict: FAIL", "Average crystal size", "Signatures", "Hütte"):
        assert words in pages[0]
    assert "Scales and attention" not in "".join(pages)
    assert pages[1].index("Annex: provenance") > pages[1].index("Size distribution")


def test_no_type_is_smaller_than_eight_and_a_half_points():
    parts, profile = sample()
    sizes = set()

    def visit(text, _cm, _tm, _font, size):
        if text.strip():
            sizes.add(round(size, 2))

    reader = PdfReader(io.BytesIO(build_pdf(make(parts, VALIDATED, Details(sample="S 7"), profile))))
    for page in reader.pages:
        page.extract_text(visitor_text=visit)
    assert min(sizes) >= 8.5


def test_columns_are_as_wide_as_their_longest_word():
    rows = Rows(("a", "segmentation", "b"), [("1", "2", "3")], (0.45, 0.1, 0.45))
    widths = _widths(rows, [90.0, 20.0, 90.0])
    assert sum(widths) == pytest.approx(200)
    assert widths[1] >= stringWidth("segmentation", "DejaVuSans-Bold", 8.5)
    assert _widths(rows, [20.0, 20.0, 20.0]) == [20.0, 20.0, 20.0]  # no room
