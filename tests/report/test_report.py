import html
import io
import re
import warnings
from dataclasses import replace

import cv2
import numpy as np
import openpyxl
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfReader
from reportlab.pdfbase.ttfonts import TTFont

from crystalseg.evaluation.comparison import Compared, as_text, compare
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.measurement import measure
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import Calibration, from_tiff, from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.pairs import read_labels, read_pairs, write_pair
from crystalseg.record import store
from crystalseg.record.profiles import SECTIONS, Profile
from crystalseg.record.reopening import reopen
from crystalseg.record.runs import describe, labels_file
from crystalseg.report.blocks import Facts, Heading, Pictures, Rows, Text
from crystalseg.report.charts import _ticks, distribution_chart
from crystalseg.report.content import content
from crystalseg.report.exports import crystals_csv, labels_tiff
from crystalseg.report.html import build_html
from crystalseg.report.pdf import build_pdf
from crystalseg.report.pictures import draw_scale_bar
from crystalseg.report.report import Details, make, reopened_part, report_of
from crystalseg.report.words import corrections_words, figure_rows, number, size_rows
from crystalseg.report.workbook import build_workbook
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

DRAWN = draw(8, (260, 300), Structure("powder", diameter=35, spread=0.3))


def case(labels=DRAWN.labels, um_per_px=0.5):
    calibration = from_um_per_px(um_per_px) if um_per_px else None
    micrograph = Micrograph(DRAWN.image, "probe.tif", "ab" * 32, calibration, ("A note.",))
    fused = Prediction(flows_from_labels(labels), np.where(labels > 0, 5.0, -5.0).astype(np.float32))
    scale = ScalePrediction(1.0, fused.flow, fused.foreground, labels >= 0)
    found = Segmentation(
        labels,
        np.full(labels.max(), 0.9, np.float32),
        fused,
        (scale,),
        None,
        Settings(),
        {"scale 1": 1.0},
        {"cellpose": "cd" * 32},
        {"cellpose": "2026-01-01"},
    )
    measurement = measure(labels, micrograph.um_per_px, "exclude", found.confidence)
    return micrograph, found, measurement, described(micrograph, found, measurement)


def described(micrograph, found, measurement, corrections=()):
    file = labels_file(found.labels, found.confidence)
    store.put(file)
    return describe(micrograph, found, measurement.summary, file, corrections)


def pdf(micrograph, found, measurement, run, details=None, **more):
    return build_pdf(report_of(micrograph, found, measurement, run, None, details or Details(), **more))


def text_of(pdf):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a reader must have nothing to complain about
        reader = PdfReader(io.BytesIO(pdf), strict=True)
        return reader, [page.extract_text() for page in reader.pages]


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
    for name, value in size_rows(measurement.summary):
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
    assert "No crystal counts" in " ".join(pages)


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


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=200), st.text(max_size=2000))
def test_any_text_of_the_users_makes_a_pdf(sample, remarks):
    micrograph, found, measurement, run = case()
    text_of(pdf(micrograph, found, measurement, run, Details(sample=sample, remarks=remarks)))


def test_csv_comes_back_as_the_table():
    crystals = case()[2].crystals
    back = pd.read_csv(io.BytesIO(crystals_csv(crystals)), encoding="utf-8-sig")
    assert list(back.columns) == list(crystals.columns)
    np.testing.assert_allclose(back["area_um2"], crystals["area_um2"], rtol=1e-5)
    assert (back["touches_border"] == crystals["touches_border"]).all()


@pytest.mark.parametrize("count", [300, 70_000])
def test_labels_tiff_keeps_every_number_and_the_pixel_size(count, tmp_path):
    labels = np.zeros((300, 300), np.int32)
    labels.flat[:count] = np.arange(1, min(count, labels.size) + 1)
    data = labels_tiff(labels, 0.25)
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        np.testing.assert_array_equal(tif.asarray().astype(int), labels)
        assert from_tiff(tif).um_per_px == pytest.approx(0.25)
    if count < 2**16:
        (tmp_path / "l.tif").write_bytes(data)
        np.testing.assert_array_equal(read_labels(tmp_path / "l.tif"), labels)


def test_pairs_come_back(tmp_path):
    write_pair(tmp_path, "x", DRAWN.image, DRAWN.labels)
    ((micrograph, labels),) = read_pairs(tmp_path)
    np.testing.assert_array_equal(micrograph.pixels, DRAWN.image)
    np.testing.assert_array_equal(labels, DRAWN.labels)


def test_scale_bar_has_the_length_written_on_it():
    picture = draw_scale_bar(np.full((800, 1000, 3), 128, np.uint8), 0.5)  # 500 µm wide: a bar of 100 µm = 200 px
    black = (picture == 0).all(axis=2)
    assert max(np.diff(np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))).max(initial=0) for row in black) == 201


@pytest.mark.parametrize(("low", "high"), [(3.0, 400.0), (10.0, 11.0), (0.002, 0.3)])
def test_ticks_are_round_and_inside(low, high):
    for logarithmic in (True, False):
        ticks = _ticks(low, high, logarithmic)
        assert all(low <= t <= high * (1 + 1e-9) for t in ticks)
        assert ticks == sorted(ticks)


@pytest.mark.parametrize("sizes", [[5.0], [5.0, 5.0], list(range(1, 2000))])
def test_charts_of_one_and_of_many_crystals(sizes):
    sizes = np.array(sizes, float)
    distribution_chart(sizes, np.ones(len(sizes)), "t", "px", (400, 150), "Helvetica")


def sample():
    """Two fields with a specification, everything known of its uncertainty, corrections in one of them."""
    parts = []
    for nth in (1, 2):
        micrograph, found, measurement, run = case()
        known = Calibration(0.5, "stage micrometer", 0.005)
        micrograph = replace(micrograph, calibration=known, name=f"field {nth}.tif")
        log = [Correction("merge", (1, 2), who="A. Kern", when="2026-01-02T03:04:05+00:00").to_dict()]
        run = described(micrograph, found, measurement, log if nth == 2 else [])
        parts += report_of(micrograph, found, measurement, run, None).parts
    limits = (Limit("mean", 5, 500), Limit("d90", upper=5.0), Limit("area_above", None, 0.5, 60.0))
    profile = Profile("round grain", "product 7", kind="discs", limits=limits)
    return parts, profile


VALIDATED = Validation("discs", "sima-plus", 3, {key: [0.01, -0.02, 0.0] for key in DEFINITIONS})
LOGO = cv2.imencode(".png", np.full((40, 120, 3), 90, np.uint8))[1].tobytes()


def test_a_report_for_an_audit_says_all_it_must():
    parts, profile = sample()
    details = Details(sample="S 7", company="Gießerei <Süd>", received="2026-01-01", operator="A. Kern", logo=LOGO)
    report = make(parts, VALIDATED, details, profile)
    assert [v.outcome for v in report.assessment.verdicts] == ["pass", "fail", "pass"]
    _, pages = text_of(build_pdf(report))
    text = re.sub(r"\s+", " ", " ".join(pages))
    wanted = [
        "Verdict: FAIL",
        "Gießerei <Süd>",
        "2026-01-01",
        "product 7, round grain",
        "ISO 14253-1",
        "field 1.tif",
        "field 2.tif",
        "standard uncertainty 0.5 %",
        "Authorised by",
        "%RA",
        "sima-plus on 3 images of discs",
        "does not claim compliance",
        "area share of crystals above 60",
        "Corrections (field 2.tif)",
        "End of report",
    ]
    for words in wanted:
        assert words in text, words
    for b in report.assessment.budgets.values():
        assert f"{b.figure.words} {number(b.figure.key, b.figure.value)}" in text
    assert "≥" not in re.sub("Q[02] ≥", "", text.split("Figures by standard")[1].split("Method")[0])
    for page in pages:
        assert parts[0].run.id in page
        assert parts[0].run.files["labels"][:12] in page
    assert all(page.strip() for page in pages)


def test_every_sign_of_a_report_is_in_its_font():
    parts, profile = sample()
    report = make(parts, VALIDATED, Details(sample="S 7"), profile)
    text = [report.title, report.identity]
    for block in content(report):
        match block:
            case Heading() | Text():
                text.append(block.text)
            case Facts():
                text += [str(cell) for row in block.rows for cell in row]
            case Rows():
                text += [cell for row in (block.header, *block.rows) for cell in row]
            case Pictures():
                text += [caption for _, caption in block.pictures]
    known = TTFont("Vera", "Vera.ttf").face.charToGlyph
    assert {sign for sign in "".join(text) if ord(sign) not in known} == set()


def test_html_says_what_the_pdf_says():
    parts, profile = sample()
    report = make(parts, VALIDATED, Details(sample="S 7 <&>", remarks="<script>alert(1)</script>"), profile)
    page = build_html(report).decode()
    assert "<script>" not in page
    plain = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL))
    assert page.count("data:image/jpeg") == 2 + 2 + 0
    assert page.count("<svg") == 2
    plain = re.sub(r"\s+", " ", plain)
    _, pages = text_of(build_pdf(report))
    paper = " ".join(pages)
    for b in report.assessment.budgets.values():
        assert f"{b.figure.words} {number(b.figure.key, b.figure.value)}" in plain
    assert set(re.findall("[^\\W\\d_]{6,}", paper)) - set(re.findall("[^\\W\\d_]{6,}", plain)) == set()


@pytest.mark.parametrize("section", list(SECTIONS))
def test_a_section_left_out_is_not_there(section):
    parts, profile = sample()
    without = replace(profile, sections=tuple(s for s in SECTIONS if s != section))
    alone = replace(profile, sections=(section,))
    count = {len(content(make(parts, VALIDATED, Details(), p))) for p in (profile, without)}
    own = len(content(make(parts, VALIDATED, Details(), alone))) - len(
        content(make(parts, VALIDATED, Details(), replace(profile, sections=())))
    )
    assert max(count) - min(count) == own


def test_a_run_from_the_record_gives_the_same_report():
    measured = case()
    run = measured[-1]
    one = report_of(*measured, VALIDATED)
    again = make([reopened_part(reopen(run))], VALIDATED)
    assert figure_rows(list(again.assessment.budgets.values())) == figure_rows(list(one.assessment.budgets.values()))
    assert again.identity == one.identity
    _, pages = text_of(build_pdf(again))
    assert run.id in pages[0]


def test_excel_opens_the_workbook():
    parts, profile = sample()
    report = make(parts, VALIDATED, Details(), profile)
    data = io.BytesIO(build_workbook(report))
    book = openpyxl.load_workbook(data)
    assert book.sheetnames == ["Figures", "Uncertainty", "Verdict", "Fields", "Crystals", "Run"]
    figures = pd.read_excel(data, sheet_name="Figures").set_index("figure")
    for b in report.assessment.budgets.values():
        assert figures.loc[b.figure.words, "value"] == pytest.approx(b.figure.value)
        assert figures.loc[b.figure.words, "U (k = 2)"] == pytest.approx(b.expanded)
    assert len(pd.read_excel(data, sheet_name="Crystals")) == sum(len(p.crystals) for p in parts)
    assert list(pd.read_excel(data, sheet_name="Verdict")["verdict"]) == ["pass", "fail", "pass"]
    empty = case(labels=np.zeros_like(DRAWN.labels))
    assert openpyxl.load_workbook(io.BytesIO(build_workbook(report_of(*empty, None)))).sheetnames == ["Crystals", "Run"]
