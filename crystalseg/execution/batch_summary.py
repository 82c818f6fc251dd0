"""What a batch says of all its images: a table, the failures, a combined report."""

from pathlib import Path

import pandas as pd
from sqlalchemy import Engine

from crystalseg.execution.batch import Batch, load, settled
from crystalseg.execution.result import issue_report
from crystalseg.record import ledger, store
from crystalseg.record.reopening import reopen
from crystalseg.record.runs import Run
from crystalseg.record.sample import of_different_places, why_not
from crystalseg.record.validations import lookup
from crystalseg.report.exports import csv
from crystalseg.report.handouts import HANDOUTS
from crystalseg.report.picture_sections import PICTURED
from crystalseg.report.report import Details, Report, make, reopened_part
from crystalseg.segmentation.memory import give_back


def finish(folder: Path, engine: Engine) -> None:
    """Write what concerns all images: `summary.csv`, a row each with its figures, `failures.csv` with reasons, and once
    all is done `combined_report.pdf`, which takes the images for fields of one sample."""
    batch = load(folder)
    _, reasons = settled(engine, batch)
    entries = ledger.entries(engine, "run", prefix=batch.run_id())
    runs = [Run.from_dict(entry.body) for entry in sorted(entries, key=lambda e: e.subject)]
    rows = []
    for run in runs:
        facts = run.figures or {}
        average = facts.get("average", {})
        rows.append(
            {
                "image": batch.shown(batch.index(run.id)),
                "run": run.id,
                "unit": facts.get("unit"),
                "counted": facts.get("counted"),
                "average": average.get("value"),
                "low": average.get("low"),
                "high": average.get("high"),
                **{
                    f"{name} by {w}": facts[w][i]
                    for w in ("number", "area")
                    if facts
                    for i, name in enumerate(("D10", "D50", "D90"))
                },
                "largest": facts.get("largest"),
                "verdict": run.outcome,
            }
        )
    failures = [{"image": batch.shown(k), "reason": why} for k, why in sorted(reasons.items())]
    for name, table in (("summary.csv", rows), ("failures.csv", failures)):
        store.write_safely(folder / name, csv(pd.DataFrame(table)))
    if len(runs) > 1 and len(runs) + len(reasons) == len(batch.names):
        counted = of_different_places(runs)
        give_back()  # what the last image took
        combined = issue_report(engine, HANDOUTS["pdf"], _combined(batch, counted, len(runs)))
        store.write_safely(folder / "combined_report.pdf", combined)


def _combined(batch: Batch, runs: list[Run], images: int) -> Report:
    """The report of the runs as fields of one sample; of how many `images`, of which some are there twice."""
    # pictures are shown of the first only; of the others neither image nor labels are held
    parts = [reopened_part(reopen(run, with_image=number < PICTURED)) for number, run in enumerate(runs)]
    profile = batch.profile
    validation = lookup(profile, profile.settings)
    product = profile.product or f"batch {batch.id}"
    copies = images - len(runs)
    remarks = [f"{copies} of {images} images are copies of others and left out." if copies else "", why_not(runs)]
    details = Details(sample=product, remarks=" ".join(filter(None, remarks)))
    return make(parts, validation, details, profile)
