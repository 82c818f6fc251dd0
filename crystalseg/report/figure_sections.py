"""The sections that state figures: result, verdict, figures by standard, uncertainty budget, fields, largest
crystals."""

from typing import Any

import pandas as pd

from crystalseg.measurement.assessment import Assessment
from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.rounding import significant
from crystalseg.micrographs.names import visible
from crystalseg.report.blocks import Block, Facts, Heading, Rows, Text
from crystalseg.report.report import Report
from crystalseg.report.words import (
    EXPANDED,
    FIGURE_COLUMNS,
    VERDICT_COLUMNS,
    boundary_words,
    bounded,
    corrections_words,
    decision_words,
    figure_rows,
    number,
    rounded,
    rule_words,
    size_rows,
    stated,
    uncertainty,
    verdict_rows,
    with_unit,
)
from crystalseg.segmentation.corrections.correction import Correction

LARGEST_LISTED = 20
BY_FIELD = ("mean", "d50", "d50_area", "intercept_lines", "per_mm2", "g_planimetric", "g_lines")


def result(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None:
        return [Heading("Result"), Text("No crystal was counted: none was found, or all touch the image border.")]
    rows: list[tuple[str, object]] = []
    summary = report.parts[0].summary if len(report.parts) == 1 else None
    average = None if report.as_issued else assessment.budgets["mean"]
    rows += size_rows(summary, average) if summary else _pooled_rows(assessment, len(report.parts))
    log = [Correction.from_dict(c) for part in report.parts for c in part.run.corrections]
    if log:
        rows.append(("Corrected", corrections_words(log)))
    notes = [Text(note, small=True) for note in assessment.notes]
    return [Heading("Result"), Facts(rows), *notes]


def _pooled_rows(assessment: Assessment, count: int) -> list[tuple[str, str]]:
    wanted = [b for key, b in assessment.budgets.items() if key in ("mean", "d50", "d50_area", "largest")]
    rows = [(words, f"{value} ({stated(wide)})") for words, value, wide, _ in figure_rows(wanted)]
    return [*rows, ("Crystals counted", f"{assessment.counted} in {count} fields")]


def verdict(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None or assessment.outcome is None:
        return []
    return [
        Heading(f"Verdict: {assessment.outcome.upper()}"),
        Rows(VERDICT_COLUMNS, verdict_rows(assessment.verdicts), (0.28, 0.13, 0.11, 0.18, 0.3)),
        Text(decision_words(assessment.verdicts), small=True),
    ]


def figures(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None:
        return []
    rows = figure_rows(list(assessment.budgets.values()))
    incomplete = [] if all(b.complete for b in assessment.budgets.values()) else [_incomplete(assessment)]
    return [
        Heading("Figures by standard"),
        Rows(FIGURE_COLUMNS, rows, (0.3, 0.14, 0.11, 0.45)),
        Text(
            f"Computed with the formulas of the named standards; this does not claim compliance with them. "
            f"{rule_words(assessment.rule)} {boundary_words(assessment.filled, assessment.convention)} "
            "A line end inside a crystal counts as half an intercept, and a circle wholly inside a crystal counts as "
            "none. Without a pixel size, no grain-size number is given.",
            small=True,
        ),
        *incomplete,
    ]


def _incomplete(assessment: Assessment) -> Text:
    missing = dict.fromkeys(
        f"{part.source} ({part.how})"
        for b in assessment.budgets.values()
        for part in b.components
        if part.standard is None
    )
    return Text(f"≥: part of the uncertainty is unknown. Missing: {'; '.join(missing)}.", small=True)


def budget(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None:
        return []
    sources = ("sampling", "segmentation", "calibration")
    rows = []
    for b in assessment.budgets.values():
        parts = {c.source: c for c in b.components}
        each = [uncertainty(parts[s].standard) if s in parts else "–" for s in sources]
        value, wide = rounded(b)
        k = f"{b.coverage:.1f}"
        rows.append((b.figure.words, with_unit(value, b.figure.unit), *each, bounded(b, b.combined), k, wide))
    origins = []
    for source in sources:
        components = [c for b in assessment.budgets.values() for c in b.components if c.source == source]
        if components:
            told = "; ".join(dict.fromkeys(c.how for c in components))
            origins.append((f"{source}, type {components[0].kind}", told))
    header = ("figure", "value", *sources, "combined", "k", EXPANDED)
    return [
        Heading("Uncertainty budget"),
        Rows(header, rows, (0.23, 0.125, 0.11, 0.145, 0.125, 0.115, 0.05, 0.1)),
        Facts(origins),
        Text(
            "GUM (JCGM 100:2008): standard uncertainties are in the unit of the figure and include sensitivities. The "
            "combined uncertainty is the root of the sum of their squares. U = k · combined covers about 95 %. k is 2 "
            "if all components are well known, and larger if some rest on few fields, images or lines (Student's t, "
            "Welch–Satterthwaite).",
            small=True,
        ),
    ]


def fields(report: Report) -> list[Block]:
    assessment = report.assessment
    if assessment is None or len(report.parts) < 2:
        return []
    keys = [key for key in BY_FIELD if key in assessment.budgets]
    header = ["field", "counted", *(DEFINITIONS[key].words for key in keys)]
    rows = []
    for k, part in enumerate(report.parts):
        counted = str(part.summary.counted) if part.summary else "0"
        values = [number(key, assessment.budgets[key].figure.fields[k]) for key in keys]
        rows.append([part.run.image_name, counted, *values])
    precise = [assessment.precisions.get(key) for key in keys]
    for words, value in (
        ("mean of fields", lambda p: significant(p.mean)),
        ("standard deviation", lambda p: significant(p.deviation, 3)),
        ("95 % interval ±", lambda p: significant(p.half_width, 3)),
        ("%RA", lambda p: f"{p.relative:.1f}"),
        ("fields for 10 %RA", lambda p: str(p.needed)),
    ):
        rows.append([words, "", *(value(p) if p else "" for p in precise)])
    explained = "Precision across fields: t(0.975, n − 1)·s/√n and %RA (formulas of ASTM E112-13 cl. 15)."
    return [Heading("Table per field"), Rows(header, rows, small=True), Text(explained, small=True)]


def largest(report: Report) -> list[Block]:
    if report.assessment is None:
        return []
    unit = report.assessment.unit
    suffix = "um" if unit == "µm" else "px"
    columns = {
        "image": "image",
        "id": "id",
        f"equivalent_diameter_{suffix}": f"diameter, {unit}",
        f"feret_max_{suffix}": f"max Feret, {unit}",
        f"feret_min_{suffix}": f"min Feret, {unit}",
        "aspect_ratio": "aspect ratio",
        "form_factor": "form factor",
        "circularity": "circularity",
        "touches_border": "at border",
        "confidence": "confidence",
    }
    everything = pd.concat([p.crystals.assign(image=visible(p.run.image_name)) for p in report.parts])
    columns = {key: words for key, words in columns.items() if key in everything}
    if len(report.parts) == 1:
        del columns["image"]
    top = everything.sort_values(f"equivalent_diameter_{suffix}", ascending=False).head(LARGEST_LISTED)

    def cell(key: str, value: Any) -> str:
        if key == "touches_border":
            return "yes" if value else ""
        return str(value) if key in ("id", "image") else significant(value)

    rows = [[cell(key, row[key]) for key in columns] for _, row in top.iterrows()]
    heading = f"The {len(top)} largest of {len(everything)} crystals (the CSV file lists all)"
    return [Heading(heading), Rows(list(columns.values()), rows, small=True)]
