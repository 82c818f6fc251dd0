"""The PDF report (reportlab): text that can be searched, vector charts, embedded fonts."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import cv2
import numpy as np
import pandas as pd
from PIL import Image as PillowImage
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, KeepTogether, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from crystalseg.correct import Correction
from crystalseg.measure.distribution import Summary, sizes_and_weights
from crystalseg.micrograph import Micrograph
from crystalseg.report.charts import cumulative_chart, distribution_chart
from crystalseg.report.comparison import Comparison, as_text
from crystalseg.runs import Run
from crystalseg.segmentation import Segmentation
from crystalseg.settings import METHODS, PACKAGE
from crystalseg.view import fit, outlined, scale_bar

PAGES = {"A4": A4, "Letter": LETTER}
FONT, BOLD = "Vera", "VeraBd"  # shipped with reportlab, embedded in the file
MARGIN = 18 * mm
PICTURE_PX = 1600
LARGEST_LISTED = 20

_BODY = ParagraphStyle("body", fontName=FONT, fontSize=8.5, leading=11.5)
_SMALL = ParagraphStyle("small", _BODY, fontSize=7, leading=9.5, textColor=HexColor("#444444"))
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


@dataclass(frozen=True)
class Details:
    """What the user says about the sample; all may stay empty. paper: A4 or Letter."""

    sample: str = ""
    material: str = ""
    customer: str = ""
    laboratory: str = ""
    operator: str = ""
    remarks: str = ""
    paper: str = "A4"


class _Numbered(Canvas):
    """Writes 'page x of y' and the run's id at the foot of every page, once y is known."""

    footer = ""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._states: list[dict] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._states.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, state in enumerate(self._states, start=1):
            self.__dict__.update(state)
            self.setFont(FONT, 7)
            self.drawString(MARGIN, 10 * mm, self.footer)
            self.drawRightString(self._pagesize[0] - MARGIN, 10 * mm, f"page {number} of {len(self._states)}")
            super().showPage()
        super().save()


def _register_fonts() -> None:
    for name in (FONT, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))


def _paragraph(text: object, style: ParagraphStyle = _BODY) -> Paragraph:
    return Paragraph(escape(str(text)), style)


def _facts(rows: list[tuple[str, object]], width: float) -> Table:
    cells = [[_paragraph(name, _SMALL), _paragraph(value)] for name, value in rows]
    return Table(cells, colWidths=(0.27 * width, 0.73 * width), style=_GRID)


def _picture(pixels: np.ndarray, width: float, height: float) -> Image:
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, "JPEG", quality=90)
    buffer.seek(0)
    factor = min(width / pixels.shape[1], height / pixels.shape[0])
    return Image(buffer, pixels.shape[1] * factor, pixels.shape[0] * factor)


def draw_scale_bar(picture: np.ndarray, um_per_px: float) -> np.ndarray:
    """A copy of the RGB picture with a scale bar of round length in its lower left corner, the length written."""
    height, width = picture.shape[:2]
    length_um = scale_bar(width * um_per_px)
    length = round(length_um / um_per_px)
    unit = max(width, height) / 1000
    thick, x, y = max(2, round(6 * unit)), round(25 * unit), height - round(30 * unit)
    words = f"{length_um:g} um" if length_um < 1000 else f"{length_um / 1000:g} mm"
    box = (x + max(length, round(130 * unit)) + round(12 * unit), y + round(16 * unit))
    picture = cv2.rectangle(picture.copy(), (x - round(12 * unit), y - round(42 * unit)), box, (255, 255, 255), -1)
    cv2.rectangle(picture, (x, y - thick), (x + length, y), (0, 0, 0), -1)
    place = (x, y - thick - round(8 * unit))
    return cv2.putText(
        picture, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.9 * unit, (0, 0, 0), max(1, round(1.6 * unit)), cv2.LINE_AA
    )


def size_rows(summary: Summary) -> list[tuple[str, str]]:
    """The summary table, name and value with unit, as page and report both show it."""
    u = summary.unit
    average = summary.average
    marked = summary.pores + summary.artefacts
    interval = (
        f" (95 % CI {average.low:.4g} to {average.high:.4g})" if np.isfinite(average.low) else " (one crystal: no CI)"
    )
    return [
        ("Average crystal size (ACS)", f"{average.value:.4g} {u}{interval}"),
        ("D10 / D50 / D90 by number", " / ".join(f"{d:.4g}" for d in summary.number) + f" {u}"),
        ("D10 / D50 / D90 by area", " / ".join(f"{d:.4g}" for d in summary.area) + f" {u}"),
        ("Span by number, by area", f"{summary.number_span:.3g}, {summary.area_span:.3g}"),
        ("Smallest, largest crystal", f"{summary.smallest:.4g}, {summary.largest:.4g} {u}"),
        ("Crystals found, counted, at the border", f"{summary.found}, {summary.counted}, {summary.border}"),
        ("Area covered by crystals", f"{100 * summary.area_share:.1f} %"),
        *([("Marked and left out", f"{summary.pores} pores, {summary.artefacts} artefacts")] if marked else []),
    ]


def corrections_words(log: Sequence[Correction]) -> str:
    """For example '3 corrections by hand, by A. Smith and B. Jones'."""
    names = list(dict.fromkeys(c.who or "an unnamed person" for c in log))
    return f"{len(log)} correction{'s' * (len(log) != 1)} by hand, by {' and '.join(names)}"


def _rule_words(rule: str) -> str:
    if rule == "exclude":
        return (
            "Crystals cut by the image border are left out; each of the others counts W·H / ((W − w)(H − h)) to make "
            "up for them (Miles–Lantuéjoul weight, formula of ISO 13322-1)."
        )
    return "Every crystal counts once, also those cut by the image border."


def build_pdf(
    micrograph: Micrograph,
    segmentation: Segmentation,
    crystals: pd.DataFrame,
    summary: Summary | None,
    run: Run,
    details: Details = Details(),
    comparison: Comparison | None = None,
) -> bytes:
    """The report of one run as PDF bytes; `summary` None says that no crystal counted. `comparison`: of methods,
    a section of its own."""
    _register_fonts()
    buffer = io.BytesIO()
    page = PAGES[details.paper]
    title = f"Crystal size report: {details.sample or micrograph.name}"
    document = SimpleDocTemplate(
        buffer, pagesize=page, leftMargin=MARGIN, rightMargin=MARGIN, topMargin=15 * mm, bottomMargin=18 * mm,
        title=title, author=details.operator or "crystalseg", subject=f"run {run.id}", creator="crystalseg",
    )  # fmt: skip
    width = page[0] - 2 * MARGIN
    story = [_paragraph(title, _TITLE), *_identity(micrograph, run, details, width)]
    story += [_paragraph("Result", _HEAD)]
    if summary is None:
        story.append(_paragraph("No crystal counts: none was found, or all touch the image border."))
    else:
        corrected = corrections_words([Correction.from_dict(c) for c in run.corrections])
        story.append(_facts([*size_rows(summary), *([("Corrected", corrected)] if run.corrections else [])], width))
    story += [Spacer(1, 6), *_overlay(micrograph, segmentation, width)]
    if summary is not None:
        story += [PageBreak(), *_distributions(crystals, micrograph.shape, summary, width)]
        story += _largest(crystals, summary.unit, width)
    if comparison is not None:
        story += _comparison(comparison, micrograph.pixels, width)
    if run.corrections:
        story += _corrections([Correction.from_dict(c) for c in run.corrections], width)
    story += _method(micrograph, segmentation, run, width)
    footer = f"crystalseg {run.software['crystalseg']} · run {run.id} · image SHA-256 {run.image_sha256[:16]}…"
    canvas = type("Canvas", (_Numbered,), {"footer": footer})
    document.build(story, canvasmaker=canvas)
    return buffer.getvalue()


def _identity(micrograph: Micrograph, run: Run, details: Details, width: float) -> list:
    given = [
        ("Sample", details.sample),
        ("Material", details.material),
        ("Customer", details.customer),
        ("Laboratory", details.laboratory),
        ("Operator", details.operator),
        ("Remarks", details.remarks),
    ]
    height_px, width_px = micrograph.shape
    region = f", rows {run.region[0]}–{run.region[2]}, columns {run.region[1]}–{run.region[3]}" if run.region else ""
    pixel = f"{run.um_per_px:.5g} µm per pixel ({run.calibration})" if run.um_per_px else "none: all sizes in pixels"
    rows = [(name, value) for name, value in given if value]
    rows += [
        ("Run, date", f"{run.id}, {run.created[:19].replace('T', ' ')} UTC"),
        ("Image", f"{run.image_name}, {width_px} × {height_px} px{region}"),
        ("Image SHA-256", run.image_sha256 or "not from a file"),
        ("Calibration", pixel),
        *(("Note", note) for note in micrograph.notes),
    ]
    return [_facts(rows, width)]


def _overlay(micrograph: Micrograph, segmentation: Segmentation, width: float) -> list:
    picture = fit(outlined(micrograph.pixels, segmentation.labels), PICTURE_PX)
    if micrograph.um_per_px:
        picture = draw_scale_bar(picture, micrograph.um_per_px * micrograph.shape[1] / picture.shape[1])
    caption = "The measured image with crystal outlines. The figures relate only to the image shown."
    return [KeepTogether([_picture(picture, width, 125 * mm), Spacer(1, 3), _paragraph(caption, _SMALL)])]


def _distributions(crystals: pd.DataFrame, shape: tuple[int, int], summary: Summary, width: float) -> list:
    sizes, weights, areas, unit = sizes_and_weights(crystals, shape, summary.rule)
    size = (width, 58 * mm)
    return [
        _paragraph("Size distribution", _HEAD),
        distribution_chart(sizes, weights, "Number-weighted", unit, size, FONT),
        Spacer(1, 4),
        distribution_chart(sizes, weights * areas, "Area-weighted", unit, size, FONT),
    ]


def _largest(crystals: pd.DataFrame, unit: str, width: float) -> list:
    suffix = "um" if unit == "µm" else "px"
    columns = {
        "id": "id",
        f"equivalent_diameter_{suffix}": f"diameter, {unit}",
        f"feret_max_{suffix}": f"max Feret, {unit}",
        f"feret_min_{suffix}": f"min Feret, {unit}",
        "aspect_ratio": "aspect ratio",
        "circularity": "circularity",
        "touches_border": "at border",
        "confidence": "confidence",
    }
    columns = {key: words for key, words in columns.items() if key in crystals}
    top = crystals.sort_values(f"equivalent_diameter_{suffix}", ascending=False).head(LARGEST_LISTED)

    def cell(key: str, value: object) -> str:
        if key == "touches_border":
            return "yes" if value else ""
        return str(value) if key == "id" else f"{value:.4g}"

    rows = [list(columns.values())] + [[cell(key, row[key]) for key in columns] for _, row in top.iterrows()]
    style = TableStyle([("FONT", (0, 0), (-1, -1), FONT, 7), ("FONT", (0, 0), (-1, 0), BOLD, 7)], parent=_GRID)
    table = Table(rows, colWidths=[width / len(columns)] * len(columns), style=style, repeatRows=1)
    heading = _paragraph(f"The {len(top)} largest crystals of {len(crystals)} (all are in the CSV file)", _HEAD)
    return [heading, table]


def _comparison(comparison: Comparison, pixels: np.ndarray, width: float) -> list:
    """Pictures side by side, distributions over each other, and the tables."""
    style = TableStyle([("FONT", (0, 0), (-1, -1), FONT, 7), ("FONT", (0, 0), (-1, 0), BOLD, 7)], parent=_GRID)
    story: list = [PageBreak(), _paragraph("Comparison of methods", _HEAD)]
    half = width / 2 - 4
    pictures = [
        [_picture(fit(outlined(pixels, one.labels), PICTURE_PX // 2), half, 85 * mm), _paragraph(one.name, _SMALL)]
        for one in comparison.compared
    ]
    rows = [pictures[i : i + 2] + [[]] * (2 - len(pictures[i : i + 2])) for i in range(0, len(pictures), 2)]
    story.append(Table(rows, colWidths=[width / 2] * 2, style=TableStyle([("LEFTPADDING", (0, 0), (-1, -1), 0)])))
    curves, unit = {}, "px"
    for one in comparison.compared:
        sizes, weights, _, unit = sizes_and_weights(one.crystals, one.labels.shape, comparison.rule)
        if len(sizes):
            curves[one.name] = (sizes, weights)
    if curves:
        story.append(cumulative_chart(curves, unit, (width, 60 * mm), FONT))
    for heading, table in comparison.tables.items():
        cells = [[_paragraph(cell, _SMALL) for cell in row] for row in as_text(table)]
        widths = [0.22 * width] + [0.78 * width / (len(cells[0]) - 1)] * (len(cells[0]) - 1)
        story += [KeepTogether([_paragraph(heading, _HEAD), Table(cells, colWidths=widths, style=style)])]
    return story


def _corrections(log: Sequence[Correction], width: float) -> list:
    rows = [(f"{c.when[:19].replace('T', ' ')} UTC, {c.who}", c.words()) for c in log]
    return [_paragraph(f"Corrections: {corrections_words(log)}", _HEAD), _facts(rows, width)]


def _method_words(method: str, factors: str) -> str:
    """The first sentence or two of the method statement."""
    network = f"A flow network (Cellpose's architecture) was run on the image at resize factors {factors}"
    traced = "traced to one label per crystal"
    return {
        "sima-plus": f"{network}; of the crystals that every resolution proposed, those most probably right were "
        "taken, judged by the fit of flow and shape and by what the other resolutions propose (SiMA+).",
        "sima": f"{network}; its predictions were weighted by size-aware attention maps and {traced} (Cellpose+SiMA, "
        "arXiv 2401.03939).",
        "cellpose-original": f"{network}, which brings the mean crystal to 50 px; its prediction was {traced}.",
        "cellpose-noresize": f"{network}; its prediction was {traced}.",
        "cellpose-multiscale": f"{network}; its predictions were averaged and {traced}.",
        "cellpose-maximum": f"{network}; the strongest prediction was {traced}.",
        "two-scale": f"{network}; large crystals were taken from the first, small ones from the second.",
        "boundary": "A boundary network drew the lines between crystals; the regions between lines are crystals.",
        "watershed": "The image was divided by Otsu's threshold and a watershed of the distance transform.",
        PACKAGE: "A model of the cellpose package segmented the image.",
    }[method.partition(":")[0]]


def _method(micrograph: Micrograph, segmentation: Segmentation, run: Run, width: float) -> list:
    scales = segmentation.settings.scales
    factors = ", ".join(f"{s.factor:.3g}" for s in segmentation.scales)
    thresholds = ", ".join(f"{t:g}" for t in scales.levels)
    method = segmentation.settings.method
    words = (
        f"{_method_words(method, factors)} Size is the equivalent circular diameter 2·√(area/π) of each crystal's "
        f"section, which is not the true diameter of the crystal. "
        f"{_rule_words(segmentation.settings.measuring.border_rule)} The interval of the average is a 95 % bootstrap "
        f"interval over the crystals counted; it does not include errors of segmentation or calibration. Percentiles "
        f"follow ISO 9276-1 (smallest size whose cumulative share reaches it)."
    )
    instances = segmentation.settings.instances
    rows = [
        ("Method", f"{method}: {METHODS[method.partition(':')[0]]}"),
        *([("Resize factors", factors)] if factors else []),
        *(
            [("Size thresholds, %; tile relevance", f"{thresholds}; {scales.tile_relevance:g}")]
            if method == "sima"
            else []
        ),
        ("Foreground threshold h, smallest area", f"{instances.foreground_threshold:g}, {instances.min_area} px²"),
        ("Lowest confidence kept", f"{instances.min_confidence:g}"),
        ("Border rule", segmentation.settings.measuring.border_rule),
        ("Model versions", ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "none"),
        *((f"SHA-256 of {name} weights", digest) for name, digest in run.hashes.items()),
        ("Software", ", ".join(f"{name} {version}" for name, version in run.software.items())),
        ("Computing time", f"{sum(segmentation.timings.values()):.1f} s"),
    ]
    return [
        _paragraph("Method", _HEAD),
        _paragraph(words),
        Spacer(1, 4),
        _facts(rows, width),
        Spacer(1, 8),
        _paragraph("End of report", _SMALL),
    ]
