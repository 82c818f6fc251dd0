"""The sections with pictures and charts: outlines, distribution, test lines, scales and attention, comparison."""

import cv2
import numpy as np

from crystalseg.evaluation.comparison import Comparison, as_text
from crystalseg.measurement.distribution import sizes_and_weights
from crystalseg.measurement.figures import counted
from crystalseg.report.blocks import CHART_POINTS, Block, Chart, Heading, Pictures, Rows, Text
from crystalseg.report.charts import cumulative_chart, distribution_chart
from crystalseg.report.fonts import FONT
from crystalseg.report.pictures import draw_scale_bar, with_test_lines
from crystalseg.report.report import Part, Report
from crystalseg.report.words import intercept_words
from crystalseg.segmentation.diagnostics import layers
from crystalseg.segmentation.masks import nearest
from crystalseg.segmentation.overlay import fit, outlined, overlay

PICTURE_PX = 1600
MOSAIC_PX = 5000  # if the longer side exceeds this, outlines are drawn on a reduced image
PICTURED = 6  # number of fields whose outlines are shown; the record has the others


def distribution(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None:
        return []
    _, (sizes, weights, areas) = counted([part.field for part in report.parts], assessment.rule)
    size = (CHART_POINTS, 164.0)
    return [
        Heading("Size distribution", new_page=True),
        Chart(distribution_chart(sizes, weights, "Number-weighted", assessment.unit, size, FONT)),
        Chart(distribution_chart(sizes, weights * areas, "Area-weighted", assessment.unit, size, FONT)),
    ]


def _with_bar(pixels: np.ndarray, part: Part) -> np.ndarray:
    small = fit(_outlined(pixels, part), PICTURE_PX)
    um = part.run.um_per_px
    return draw_scale_bar(small, um * pixels.shape[1] / small.shape[1]) if um else small


def _outlined(pixels: np.ndarray, part: Part) -> np.ndarray:
    """Return the image with outlines. A mosaic is reduced, so that its outlines can be drawn and seen."""
    small = fit(pixels, MOSAIC_PX)
    return outlined(small, nearest(part.field.kept_labels, small.shape[:2]))


def outlines(report: Report) -> list[Block]:
    shown = [(p, p.micrograph.pixels) for p in report.parts if p.micrograph is not None][:PICTURED]
    captions = "The measured image with crystal outlines. The figures relate only to the images shown or listed."
    pictures = [
        (
            _with_bar(pixels, p),
            captions if len(report.parts) == 1 else p.run.image_name,
        )
        for p, pixels in shown
    ]
    if not pictures:
        return []
    blocks: list[Block] = [Pictures(pictures, 1 if len(pictures) == 1 else 2, 58 if len(pictures) == 1 else 46)]
    if len(report.parts) > PICTURED:
        blocks.append(Text(f"The first {PICTURED} of {len(report.parts)} fields. All are on record.", small=True))
    if len(pictures) > 1:
        blocks.append(Text("The figures relate only to the images shown or listed.", small=True))
    return blocks


def test_lines(report: Report) -> list[Block]:
    part = report.parts[0]
    if report.assessment is None or part.micrograph is None:
        return []
    drawn, pictures = _outlined(part.micrograph.pixels, part), []
    for pattern in ("lines", "circles"):
        counts = part.field.intercepts(pattern)
        picture = with_test_lines(drawn, counts, drawn.shape[1] / part.micrograph.shape[1])
        pictures.append((fit(picture, PICTURE_PX // 2), intercept_words(pattern, counts, part.run.um_per_px)))
    name = f" ({part.run.image_name})" if len(report.parts) > 1 else ""
    return [Heading(f"Test lines and circles as counted{name}"), Pictures(pictures, 2, 75)]


def attention(report: Report) -> list[Block]:
    part = report.parts[0]
    if part.micrograph is None or part.segmentation is None:
        return []
    shown = [layer for layer in layers(part.segmentation, part.run.um_per_px) if layer.kind in ("categories", "heat")]
    if not shown:
        return []
    pixels = fit(part.micrograph.pixels, PICTURE_PX // 2)
    pictures = []
    for layer in shown:
        legend = "; ".join(words for _, words in layer.legend)
        picture = cv2.resize(layer.picture(), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pictures.append((overlay(pixels, picture, 0.5), f"{layer.name}{': ' + legend if legend else ''}"))
    return [Heading("Scales and attention", new_page=True), Pictures(pictures, 2, 70)]


def comparison_of_methods(comparison: Comparison, pixels: np.ndarray) -> list[Block]:
    """Return pictures side by side, the distributions in one chart, and the tables."""
    pictures = [(fit(outlined(pixels, method.labels), PICTURE_PX // 2), method.name) for method in comparison.compared]
    blocks: list[Block] = [Heading("Comparison of methods", new_page=True), Pictures(pictures, 2, 85)]
    curves, unit = {}, "px"
    for method in comparison.compared:
        sizes, weights, _, unit = sizes_and_weights(method.crystals, method.labels.shape, comparison.rule)
        if len(sizes):
            curves[method.name] = (sizes, weights)
    if curves:
        blocks.append(Chart(cumulative_chart(curves, unit, (CHART_POINTS, 170.0), FONT)))
    for heading, table in comparison.tables.items():
        header, *rows = as_text(table)
        shares = [0.22] + [0.78 / (len(header) - 1)] * (len(header) - 1)
        blocks += [Heading(heading), Rows(header, rows, shares, small=True)]
    return blocks
