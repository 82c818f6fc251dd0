"""The log of corrections by hand."""

from sqlalchemy import Engine

from crystalseg.record import ledger


def log_correction(engine: Engine, job: str, choice: str, entry: dict, who: str) -> None:
    """Add a correction (or undo, redo), made to the result of `job` with the thresholds named `choice`, to its log."""
    ledger.append(engine, "correction", job, {"choice": choice, "entry": entry}, who)


def correction_log(
    engine: Engine, job: str, choice: str | None = None, before: int | None = None
) -> list[tuple[str, dict]]:
    """The log of a job, oldest first, as (thresholds, entry); of all its thresholds unless a `choice` is named, and
    `before` an entry of the record, by its number."""
    log = ledger.entries(engine, "correction", job, before=before)
    return [(e.body["choice"], e.body["entry"]) for e in log if choice in (None, e.body["choice"])]
