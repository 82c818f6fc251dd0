"""The summary of a batch: a table, the failures and a combined report."""

import json
from pathlib import Path

import pandas as pd
from sqlalchemy import Engine

from crystalseg.execution.kinds.batch import Batch, load, runs_of, settled
from crystalseg.execution.result import issue_report
from crystalseg.measurement.distribution import Summary
from crystalseg.record import store
from crystalseg.record.reopening import reopen
from crystalseg.record.runs import Run
from crystalseg.record.sample import of_different_places, why_not
from crystalseg.record.validations import lookup
from crystalseg.report.exports import csv
from crystalseg.report.handouts import HANDOUTS
from crystalseg.report.picture_sections import PICTURED
from crystalseg.report.report import Details, Report, make, reopened_part
from crystalseg.report.words import decision_words, figure_rows, verdict_rows
from crystalseg.segmentation.memory import give_back

COMBINED = {"pdf": "combined_report.pdf", "excel": "combined_workbook.xlsx"}  # by the key of the handout
SAMPLE = "sample.json"


def finish(folder: Path, engine: Engine) -> None:
    """Write the files about all images: `summary.csv` with the figures of each image in a row, `failures.csv` with the
    reasons, and, once all images are done, the report, the workbook and `sample.json`, which take the images as fields
    of one sample."""
    batch = load(folder)
    _, reasons = settled(engine, batch)
    runs = runs_of(engine, batch)
    rows = []
    for run in runs:
        # A.PNG, a.png and a.tif differ only in the names of their files.
        index = batch.index(run.id)
        row = {"image": batch.shown(index), "files": f"{batch.stems[index]}_*", "run": run.id}
        rows.append(row | _figures(run.summary) | {"verdict": run.outcome})
    failures = [{"image": batch.shown(k), "reason": why} for k, why in sorted(reasons.items())]
    for name, table in (("summary.csv", rows), ("failures.csv", failures)):
        store.write_safely(folder / name, csv(pd.DataFrame(table)))
    if len(runs) > 1 and len(runs) + len(reasons) == len(batch.names):
        counted = of_different_places(runs)
        give_back()  # release the memory of the last image
        combined = _combined(batch, counted, len(runs))
        for key, name in COMBINED.items():
            store.write_safely(folder / name, issue_report(engine, HANDOUTS[key], combined))
        store.write_safely(folder / SAMPLE, json.dumps(_sample(combined), indent=1).encode())


def _sample(report: Report) -> dict[str, object]:
    """Return what a page shows of the fields as one sample: the verdict, the figures, the verdict on each limit and
    the decision rule, in the words of the report."""
    found = report.assessment
    if found is None:
        return {"outcome": "", "figures": [], "verdicts": [], "decision": ""}
    return {
        "outcome": found.outcome or "",
        "figures": figure_rows(list(found.budgets.values())),
        "verdicts": verdict_rows(found.verdicts),
        "decision": decision_words(found.verdicts) if found.verdicts else "",
    }


def _figures(summary: Summary | None) -> dict[str, object]:
    """Return the columns with a run's figures. If no crystal counts, return only the first columns, empty."""
    if summary is None:
        return dict.fromkeys(("unit", "counted", "average", "low", "high", "largest"))
    average = summary.average
    return {
        "unit": summary.unit,
        "counted": summary.counted,
        "average": average.value,
        "low": average.low,
        "high": average.high,
        **dict(zip(("D10 by number", "D50 by number", "D90 by number"), summary.number, strict=True)),
        **dict(zip(("D10 by area", "D50 by area", "D90 by area"), summary.area, strict=True)),
        "largest": summary.largest,
    }


def _combined(batch: Batch, runs: list[Run], images: int) -> Report:
    """Return the report of the runs as fields of one sample. `images` is the number of images including copies."""
    # Only the first runs are pictured; of the others, neither image nor labels are kept in memory.
    parts = [reopened_part(reopen(run, with_image=number < PICTURED)) for number, run in enumerate(runs)]
    profile = batch.profile
    validation = lookup(profile, profile.settings)
    product = profile.product or f"batch {batch.id}"
    copies = images - len(runs)
    remarks = [f"{copies} of {images} images are copies of others and were left out." if copies else "", why_not(runs)]
    said = " ".join(filter(None, remarks))
    details = Details(batch.sample or product, customer=batch.customer, operator=batch.operator, remarks=said)
    return make(parts, validation, details, profile)
