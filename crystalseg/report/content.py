"""What a report says: from measured fields to blocks, a section at a time."""

import io

import cv2
import numpy as np
import pandas as pd
from PIL import Image as PillowImage

from crystalseg.correct import Correction
from crystalseg.layers import layers
from crystalseg.measure.assessment import Assessment
from crystalseg.measure.distribution import sizes_and_weights
from crystalseg.measure.figures import DEFINITIONS, counted
from crystalseg.measure.specification import RULE
from crystalseg.measure.uncertainty import COVERAGE
from crystalseg.profiles import SECTIONS
from crystalseg.report.blocks import CHART_POINTS, Block, Chart, Facts, Heading, Pictures, Rows, Text
from crystalseg.report.charts import cumulative_chart, distribution_chart
from crystalseg.report.comparison import Comparison, as_text
from crystalseg.report.sample import Details, Part, Report
from crystalseg.report.words import (
    VERDICT_COLUMNS,
    bounded,
    corrections_words,
    figure_rows,
    method_words,
    number,
    rule_words,
    settings_rows,
    size_rows,
    uncertainty,
    verdict_rows,
)
from crystalseg.view import fit, outlined, overlay, scale_bar, with_test_lines

PICTURE_PX = 1600
LARGEST_LISTED = 20
PICTURED = 6  # fields whose outlines are shown; with more, the record has them
FONT = "Vera"  # of charts; shipped with reportlab
BY_FIELD = ("mean", "d50", "d50_area", "intercept_lines", "per_mm2", "g_planimetric", "g_lines")


def content(report: Report) -> list[Block]:
    """The whole report; sections the profile leaves out are not there, nor those that have nothing to say."""
    blocks = [*_identity(report), *_result(report)]
    for section in SECTIONS:
        if section in report.profile.sections:
            blocks += _SECTIONS[section](report)
        if section == "distribution" and report.comparison is not None and report.parts[0].micrograph is not None:
            blocks += _comparison(report.comparison, report.parts[0].micrograph.pixels)
    return [*blocks, Text("End of report", small=True)]


def _identity(report: Report) -> list[Block]:
    d = report.details
    given = [
        ("Company", d.company), ("Laboratory", d.laboratory), ("Customer", d.customer), ("Sample", d.sample),
        ("Material", d.material), ("Received", d.received), ("Operator", d.operator), ("Remarks", d.remarks),
        ("Product, profile", ", ".join(filter(None, (report.profile.product, report.profile.name)))),
    ]  # fmt: skip
    rows: list[tuple[str, object]] = [(name, value) for name, value in given if value]
    for part in report.parts[: PICTURED if len(report.parts) <= PICTURED else 1]:
        rows += _image_rows(part)
    if len(report.parts) > PICTURED:
        rows.append(("Fields", f"{len(report.parts)}, all listed in the table per field"))
    return [*_logo(d), Facts(rows)]


def _logo(details: Details) -> list[Block]:
    if not details.logo:
        return []
    picture = np.asarray(PillowImage.open(io.BytesIO(details.logo)).convert("RGB"))
    return [Pictures([(picture, "")], height=16.0)]


def _image_rows(part: Part) -> list[tuple[str, str]]:
    run = part.run
    height, width = part.field.shape
    region = f", rows {run.region[0]}–{run.region[2]}, columns {run.region[1]}–{run.region[3]}" if run.region else ""
    if run.um_per_px:
        known = run.calibration_uncertainty
        stated = f", standard uncertainty {100 * known:.2g} %" if known is not None else ", uncertainty not stated"
        pixel = f"{run.um_per_px:.5g} µm per pixel ({run.calibration}{stated})"
    else:
        pixel = "none: all sizes in pixels"
    return [
        ("Run, date", f"{run.id}, {run.created[:19].replace('T', ' ')} UTC"),
        ("Image", f"{run.image_name}, {width} × {height} px{region}"),
        ("Image SHA-256", run.image_sha256 or "not from a file"),
        ("Calibration", pixel),
        *(("Note", note) for note in (part.micrograph.notes if part.micrograph else ())),
    ]


def _result(report: Report) -> list[Block]:
    found = report.assessment
    if found is None:
        return [Heading("Result"), Text("No crystal counts: none was found, or all touch the image border.")]
    rows: list[tuple[str, object]] = []
    if found.outcome is not None:
        rows.append(("Verdict", found.outcome.upper()))
    one = len(report.parts) == 1
    rows += size_rows(report.parts[0].summary) if one else _pooled_rows(found, len(report.parts))
    log = [Correction.from_dict(c) for part in report.parts for c in part.run.corrections]
    if log:
        rows.append(("Corrected", corrections_words(log)))
    notes = [Text(note) for note in found.notes]
    return [Heading("Result"), Facts(rows), *notes]


def _pooled_rows(found: Assessment, count: int) -> list[tuple[str, str]]:
    wanted = [b for key, b in found.budgets.items() if key in ("mean", "d50", "d50_area", "largest")]
    rows = [(words, f"{value} (U = {wide})") for words, value, wide, _ in figure_rows(wanted)]
    return [*rows, ("Crystals counted", f"{found.counted} in {count} fields")]


def _verdict(report: Report) -> list[Block]:
    found = report.assessment
    if found is None or not found.verdicts:
        return []
    return [
        Heading(f"Verdict: {found.outcome.upper()}"),
        Rows(VERDICT_COLUMNS, verdict_rows(found.verdicts), (0.3, 0.13, 0.1, 0.14, 0.33)),
        Text(RULE, small=True),
    ]


def _figures(report: Report) -> list[Block]:
    found = report.assessment
    if found is None:
        return []
    rows = figure_rows(list(found.budgets.values()))
    incomplete = [] if all(b.complete for b in found.budgets.values()) else [_incomplete(found)]
    return [
        Heading("Figures by standard"),
        Rows(("figure", "value", f"U (k = {COVERAGE:g})", "computed with"), rows, (0.3, 0.14, 0.11, 0.45)),
        Text(
            f"Computed with the formulas of the standards named, which does not claim compliance with them. "
            f"{rule_words(found.rule)} Intercepts count ½ for an end of a line; gaps up to 3 px between crystals are "
            "boundaries and belong to the length. No grain-size number is given without a pixel size.",
            small=True,
        ),
        *incomplete,
    ]


def _incomplete(found: Assessment) -> Text:
    missing = dict.fromkeys(
        f"{c.source} ({c.how})" for b in found.budgets.values() for c in b.components if c.standard is None
    )
    return Text(f"≥: not all of the uncertainty is known; missing: {'; '.join(missing)}.", small=True)


def _budget(report: Report) -> list[Block]:
    found = report.assessment
    if found is None:
        return []
    sources = ("sampling", "segmentation", "calibration")
    rows = []
    for b in found.budgets.values():
        parts = {c.source: c for c in b.components}
        each = [uncertainty(b, parts[s].standard) if s in parts else "–" for s in sources]
        value = f"{number(b.figure.key, b.figure.value)} {b.figure.unit}".strip()
        rows.append((b.figure.words, value, *each, bounded(b, b.combined), bounded(b, b.expanded)))
    origins = []
    for source in sources:
        components = [c for b in found.budgets.values() for c in b.components if c.source == source]
        if components:
            told = "; ".join(dict.fromkeys(c.how for c in components))
            origins.append((f"{source}, type {components[0].kind}", told))
    header = ("figure", "value", *sources, "combined", f"U (k = {COVERAGE:g})")
    return [
        Heading("Uncertainty budget"),
        Rows(header, rows, (0.32, 0.14, 0.11, 0.13, 0.11, 0.1, 0.09)),
        Facts(origins),
        Text("GUM (JCGM 100:2008): standard uncertainties in the figure's unit, sensitivities included; combined is "
             "the root of the sum of their squares; U covers about 95 %.", small=True),
    ]  # fmt: skip


def _fields(report: Report) -> list[Block]:
    found = report.assessment
    if found is None or len(report.parts) < 2:
        return []
    keys = [key for key in BY_FIELD if key in found.budgets]
    header = ["field", "run", "counted", *(DEFINITIONS[key].words for key in keys)]
    rows = []
    for k, part in enumerate(report.parts):
        counted = str(part.summary.counted) if part.summary else "0"
        values = [number(key, found.budgets[key].figure.fields[k]) for key in keys]
        rows.append([part.run.image_name, part.run.id, counted, *values])
    blank = ["", ""]
    precise = [found.precisions.get(key) for key in keys]
    for words, value in (
        ("mean of fields", lambda p: f"{p.mean:.4g}"), ("standard deviation", lambda p: f"{p.deviation:.3g}"),
        ("95 % interval ±", lambda p: f"{p.half_width:.3g}"), ("%RA", lambda p: f"{p.relative:.1f}"),
        ("fields for 10 %RA", lambda p: str(p.needed)),
    ):  # fmt: skip
        rows.append([words, *blank, *(value(p) if p else "" for p in precise)])
    explained = "Precision over fields: t(0.975, n − 1)·s/√n and %RA (formulas of ASTM E112-13 cl. 17)."
    return [Heading("Table per field"), Rows(header, rows, small=True), Text(explained, small=True)]


def _distribution(report: Report) -> list[Block]:
    found = report.assessment
    if found is None:
        return []
    _, (sizes, weights, areas) = counted([part.field for part in report.parts], found.rule)
    size = (CHART_POINTS, 164.0)
    return [
        Heading("Size distribution", new_page=True),
        Chart(distribution_chart(sizes, weights, "Number-weighted", found.unit, size, FONT)),
        Chart(distribution_chart(sizes, weights * areas, "Area-weighted", found.unit, size, FONT)),
    ]


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


def _with_bar(picture: np.ndarray, part: Part) -> np.ndarray:
    small = fit(picture, PICTURE_PX)
    um = part.run.um_per_px
    return draw_scale_bar(small, um * picture.shape[1] / small.shape[1]) if um else small


def _overlay(report: Report) -> list[Block]:
    shown = [p for p in report.parts if p.micrograph is not None][:PICTURED]
    captions = "The measured image with crystal outlines."
    pictures = [
        (_with_bar(outlined(p.micrograph.pixels, p.field.labels), p),
         captions if len(report.parts) == 1 else p.run.image_name)
        for p in shown
    ]  # fmt: skip
    if not pictures:
        return []
    blocks: list[Block] = [Pictures(pictures, 1 if len(pictures) == 1 else 2, 92 if len(pictures) == 1 else 70)]
    if len(report.parts) > PICTURED:
        blocks.append(Text(f"The first {PICTURED} of {len(report.parts)} fields; all are on record.", small=True))
    return [*blocks, Text("The figures relate only to the images shown or listed.", small=True)]


def _intercepts(report: Report) -> list[Block]:
    part = report.parts[0]
    if report.assessment is None or part.micrograph is None:
        return []
    field = part.field
    pictures = []
    for pattern in ("lines", "circles"):
        found = field.intercepts(pattern)
        picture = with_test_lines(outlined(part.micrograph.pixels, field.labels), found)
        mean = f"{found.mean:.4g} px" if found.count else "none"
        caption = f"{pattern}: {found.count:g} crystals on {found.length:.0f} px, mean {mean}"
        pictures.append((fit(picture, PICTURE_PX // 2), caption))
    name = f" ({part.run.image_name})" if len(report.parts) > 1 else ""
    return [Heading(f"Test lines and circles as counted{name}"), Pictures(pictures, 2, 75)]


def _attention(report: Report) -> list[Block]:
    part = report.parts[0]
    if part.micrograph is None or part.segmentation is None:
        return []
    shown = [one for one in layers(part.segmentation, part.run.um_per_px) if one.kind in ("categories", "heat")]
    if not shown:
        return []
    pixels = fit(part.micrograph.pixels, PICTURE_PX // 2)
    pictures = []
    for layer in shown:
        legend = "; ".join(words for _, words in layer.legend)
        picture = cv2.resize(layer.picture(), pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        pictures.append((overlay(pixels, picture, 0.5), f"{layer.name}{': ' + legend if legend else ''}"))
    return [Heading("Scales and attention", new_page=True), Pictures(pictures, 2, 70)]


def _largest(report: Report) -> list[Block]:
    if report.assessment is None:
        return []
    unit = report.assessment.unit
    suffix = "um" if unit == "µm" else "px"
    columns = {
        "image": "image", "id": "id", f"equivalent_diameter_{suffix}": f"diameter, {unit}",
        f"feret_max_{suffix}": f"max Feret, {unit}", f"feret_min_{suffix}": f"min Feret, {unit}",
        "aspect_ratio": "aspect ratio", "circularity": "circularity", "touches_border": "at border",
        "confidence": "confidence",
    }  # fmt: skip
    everything = pd.concat([p.crystals.assign(image=p.run.image_name) for p in report.parts])
    columns = {key: words for key, words in columns.items() if key in everything}
    if len(report.parts) == 1:
        del columns["image"]
    top = everything.sort_values(f"equivalent_diameter_{suffix}", ascending=False).head(LARGEST_LISTED)

    def cell(key: str, value: object) -> str:
        if key == "touches_border":
            return "yes" if value else ""
        return str(value) if key in ("id", "image") else f"{value:.4g}"

    rows = [[cell(key, row[key]) for key in columns] for _, row in top.iterrows()]
    heading = f"The {len(top)} largest crystals of {len(everything)} (all are in the CSV file)"
    return [Heading(heading), Rows(list(columns.values()), rows, small=True)]


def _comparison(comparison: Comparison, pixels: np.ndarray) -> list[Block]:
    """Pictures side by side, distributions over each other, and the tables."""
    pictures = [(fit(outlined(pixels, one.labels), PICTURE_PX // 2), one.name) for one in comparison.compared]
    blocks: list[Block] = [Heading("Comparison of methods", new_page=True), Pictures(pictures, 2, 85)]
    curves, unit = {}, "px"
    for one in comparison.compared:
        sizes, weights, _, unit = sizes_and_weights(one.crystals, one.labels.shape, comparison.rule)
        if len(sizes):
            curves[one.name] = (sizes, weights)
    if curves:
        blocks.append(Chart(cumulative_chart(curves, unit, (CHART_POINTS, 170.0), FONT)))
    for heading, table in comparison.tables.items():
        header, *rows = as_text(table)
        shares = [0.22] + [0.78 / (len(header) - 1)] * (len(header) - 1)
        blocks += [Heading(heading), Rows(header, rows, shares, small=True)]
    return blocks


def _corrections(report: Report) -> list[Block]:
    blocks: list[Block] = []
    for part in report.parts:
        log = [Correction.from_dict(c) for c in part.run.corrections]
        if log:
            name = f" ({part.run.image_name})" if len(report.parts) > 1 else ""
            rows = [(f"{c.when[:19].replace('T', ' ')} UTC, {c.who}", c.words()) for c in log]
            blocks += [Heading(f"Corrections{name}: {corrections_words(log)}"), Facts(rows)]
    return blocks


def _method(report: Report) -> list[Block]:
    part = report.parts[0]
    run, settings = part.run, part.settings
    factors = ", ".join(f"{factor:.3g}" for factor in run.factors)
    words = (
        f"{method_words(settings.method, factors or 'of its own')} Size is the equivalent circular diameter "
        f"2·√(area/π) of each crystal's section, which is not the true diameter of the crystal. "
        f"{rule_words(settings.measuring.border_rule)} The 95 % interval of the average is a bootstrap interval over "
        f"the crystals counted; errors of segmentation and calibration are in the uncertainty budget only. Percentiles "
        f"follow ISO 9276-1 (smallest size whose cumulative share reaches it)."
    )
    rows = [
        *settings_rows(settings, factors),
        ("Model versions", ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "none"),
        *((f"SHA-256 of {name} weights", digest) for name, digest in run.hashes.items()),
        ("Software", ", ".join(f"{name} {version}" for name, version in run.software.items())),
        ("Computing time", f"{sum(p.run.timings[stage] for p in report.parts for stage in p.run.timings):.1f} s"),
    ]
    return [Heading("Method"), Text(words), Facts(rows)]


def _signature(report: Report) -> list[Block]:
    line = "_" * 34
    rows = [("Measured by", f"{report.details.operator or line}    date {'_' * 14}"),
            ("Authorised by", report.details.authorised or f"{line}    date {'_' * 14}")]  # fmt: skip
    said = "This report is valid as a whole only. It was issued from the record named at the foot of each page."
    return [Heading("Signatures"), Facts(rows), Text(said, small=True)]


_SECTIONS = {
    "verdict": _verdict, "figures": _figures, "budget": _budget, "fields": _fields, "distribution": _distribution,
    "overlay": _overlay, "intercepts": _intercepts, "attention": _attention, "largest": _largest,
    "corrections": _corrections, "method": _method, "signature": _signature,
}  # fmt: skip
