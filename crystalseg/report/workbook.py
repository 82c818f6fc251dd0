"""Write a report's figures as an Excel workbook."""

import io
from collections.abc import Mapping

import pandas as pd

from crystalseg.measurement.assessment import Assessment
from crystalseg.measurement.specification import RULES
from crystalseg.micrographs.names import visible
from crystalseg.record.runs import Run
from crystalseg.report.exports import in_text, shown
from crystalseg.report.report import Report
from crystalseg.report.words import EXPANDED


def build_workbook(report: Report) -> bytes:
    """Return a workbook with the sheets Figures and Uncertainty (as numbers), Verdict, Fields, Crystals (of all
    fields) and Run."""
    sheets = _assessed(report.assessment) if report.assessment is not None else {}
    sheets["Crystals"] = pd.concat([p.crystals.assign(image=visible(p.run.image_name)) for p in report.parts])
    sheets["Run"] = pd.DataFrame(
        [(visible(p.run.image_name), name, value) for p in report.parts for name, value in _run_rows(p.run)],
        columns=["image", "name", "value"],
    )
    return workbook(sheets, report.anchor.signed if report.anchor else "")


def workbook(sheets: Mapping[str, pd.DataFrame], keywords: str = "") -> bytes:
    """Return an Excel file with the given tables as sheets, by name."""
    buffer = io.BytesIO()
    with pd.ExcelWriter(buffer, engine="openpyxl") as writer:
        writer.book.properties.keywords = keywords
        for name, table in sheets.items():
            in_text(table, shown).to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 1))
            for row in writer.sheets[name].iter_rows():
                for cell in row:
                    if cell.data_type == "f":  # openpyxl treats text that begins with = as a formula
                        cell.data_type = "s"
            for column, cells in zip(writer.sheets[name].columns, table.columns, strict=False):
                longest = max([len(str(cells)), *(len(str(c.value)) for c in column[1:40])])
                writer.sheets[name].column_dimensions[column[0].column_letter].width = min(60, longest + 2)
    return buffer.getvalue()


def _assessed(assessment: Assessment) -> dict[str, pd.DataFrame]:
    """Return the sheets of figures."""
    budgets = list(assessment.budgets.values())
    figures = pd.DataFrame(
        [
            {
                "figure": b.figure.words,
                "value": b.figure.value,
                "unit": b.figure.unit,
                EXPANDED: b.expanded,
                "k": b.coverage,
                "U complete": b.complete,
                "computed with": b.figure.definition.standard,
            }
            for b in budgets
        ]
    )
    uncertainty = pd.DataFrame(
        [
            {"figure": b.figure.words, "source": c.source, "type": c.kind, "u": c.standard, "from": c.how}
            for b in budgets
            for c in b.components
        ]
    )
    verdict = pd.DataFrame(
        [
            {
                "limit": v.limit.words(),
                "figure": v.value,
                EXPANDED: v.expanded,
                "unit": v.unit,
                "verdict": v.outcome,
                "decision rule": RULES[v.rule][0],
                "why": v.why,
            }
            for v in assessment.verdicts
        ],
        columns=["limit", "figure", EXPANDED, "unit", "verdict", "decision rule", "why"],
    )
    fields = pd.DataFrame(
        {"field": [visible(name) for name in assessment.fields]}
        | {b.figure.words: b.figure.fields for b in budgets if b.figure.fields}
    )
    return {"Figures": figures, "Uncertainty": uncertainty, "Verdict": verdict, "Fields": fields}


def _run_rows(run: Run) -> list[tuple[str, str]]:
    return [
        ("run", run.id),
        ("date, UTC", run.created),
        ("image SHA-256", run.image_sha256),
        ("µm per px", str(run.um_per_px)),
        ("calibration", run.calibration.source if run.calibration else "None"),
        ("settings", str(run.settings)),
        *((f"SHA-256 of {name}", digest) for name, digest in (run.hashes | run.files).items()),
    ]
