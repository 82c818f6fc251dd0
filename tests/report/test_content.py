"""Reports of whole samples: all an audit asks for, in every form alike."""

import html
import io
import re
from dataclasses import asdict, replace

import numpy as np
import openpyxl
import pandas as pd
import pytest
from reportlab.pdfbase.ttfonts import TTFont

from crystalseg.record.profiles import SECTIONS
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.report.blocks import Facts, Heading, Pictures, Rows, Text
from crystalseg.report.content import content
from crystalseg.report.html import build_html
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import Details, make, printed_again, report_of
from crystalseg.report.words import figure_rows, rounded, with_limits
from crystalseg.report.workbook import build_workbook
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings
from tests.report.report_cases import DRAWN, LOGO, VALIDATED, case, sample, text_of


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
        assert f"{b.figure.words} {rounded(b)[0]}" in text
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
        assert f"{b.figure.words} {rounded(b)[0]}" in plain
    # lines break hashes, whose letters then look like words
    missing = set(re.findall("[^\\W\\d_]{6,}", paper)) - set(re.findall("[^\\W\\d_]{6,}", plain))
    assert {word for word in missing if not set(word) <= set("abcdef")} == set()


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


def test_a_field_measured_with_other_thresholds_is_named():
    (first, second), profile = sample()
    settings = Settings(scales=Scales((0.5, 1)), instances=Instances(min_area=40))
    second = replace(second, run=replace(second.run, settings=asdict(settings)))
    blocks = content(make([first, second], VALIDATED, Details(), profile))
    rows = dict(row for block in blocks if isinstance(block, Facts) for row in block.rows)
    said = "Resize factors 0.5, 1; Foreground threshold h, smallest area 0, 40 px²"
    assert rows["Different for field 2.tif"] == said
    assert "Different for field 1.tif" not in rows


def test_a_run_from_the_record_gives_the_same_report():
    measured = case()
    run = measured[-1]
    one = report_of(*measured, VALIDATED)
    again = printed_again(reopen(run), VALIDATED, Details())
    assert figure_rows(list(again.assessment.budgets.values())) == figure_rows(list(one.assessment.budgets.values()))
    assert again.identity == one.identity
    _, pages = text_of(build_pdf(again))
    assert run.id in pages[0]


def test_a_verdict_that_would_be_another_today_is_not_forgotten():
    parts, profile = sample()
    then = replace(parts[0].run, verdicts=make(parts[:1], VALIDATED, Details(), profile).verdicts)
    assert then.outcome == "fail"
    worse = replace(VALIDATED, errors={key: [3.0] * 3 for key in VALIDATED.errors})
    again = printed_again(reopen(then), worse, Details(remarks="Wet."), profile)
    assert again.assessment.verdicts == tuple(then.judged)  # as issued
    assert re.fullmatch(
        r"Wet\. The verdict FAIL is given as issued\. Judged today it is NOT DECIDABLE\. .*",
        again.details.remarks,
    )
    same = printed_again(reopen(then), VALIDATED, Details(), profile)
    assert (same.assessment.outcome, same.details.remarks) == ("fail", "")


def test_an_interval_on_record_stays_as_it_was_issued():
    measured = case()
    run = measured[-1]
    average = run.figures["average"] | {"low": 21.5, "high": 22.5}
    older = replace(run, figures=run.figures | {"average": average})
    assert same_figures(older, reopen(older).measurement.summary)
    again = printed_again(reopen(older), VALIDATED, Details())
    assert re.search(r"is 21\.5 to 22\.5 µm, as crystalseg .* stated it\. Computed today", again.details.remarks)
    _, pages = text_of(build_pdf(again))
    assert "21.5 to 22.5" in " ".join(pages[0].split())
    assert printed_again(reopen(run), VALIDATED, Details()).details.remarks == ""


def test_excel_opens_the_workbook():
    parts, profile = sample()
    report = make(parts, VALIDATED, Details(), profile)
    data = io.BytesIO(build_workbook(report))
    book = openpyxl.load_workbook(data)
    assert book.sheetnames == ["Figures", "Uncertainty", "Verdict", "Fields", "Crystals", "Run"]
    figures = pd.read_excel(data, sheet_name="Figures").set_index("figure")
    for b in report.assessment.budgets.values():
        assert figures.loc[b.figure.words, "value"] == pytest.approx(b.figure.value)
        assert figures.loc[b.figure.words, "U (95 %)"] == pytest.approx(b.expanded)
    assert len(pd.read_excel(data, sheet_name="Crystals")) == sum(len(p.crystals) for p in parts)
    assert list(pd.read_excel(data, sheet_name="Verdict")["verdict"]) == ["pass", "fail", "pass"]
    empty = case(labels=np.zeros_like(DRAWN.labels))
    assert openpyxl.load_workbook(io.BytesIO(build_workbook(report_of(*empty, None)))).sheetnames == ["Crystals", "Run"]


def test_an_interval_is_rounded_like_an_uncertainty_and_a_missing_one_is_a_dash():
    assert with_limits(14.04, 8.616, 19.47) == ("14.0", "8.6", "19.5")
    assert with_limits(190_700.4, 180_000.0, 201_000.0) == ("191\u00a0000", "180\u00a0000", "201\u00a0000")
    assert with_limits(*3 * [float("nan")]) == ("–", "–", "–")
