"""Approvals of runs: by whom and when, once, on record."""

from sqlalchemy import Engine

from crystalseg.record import ledger
from crystalseg.record.runs import find


def approve(engine: Engine, run_id: str, who: str) -> ledger.Entry:
    """Put an approval on record; of a run that is approved already, the approval there is. ValueError if there is no
    such run, or nobody's name."""
    if not who.strip():
        raise ValueError("An approval needs the name of who approves.")
    return ledger.append(engine, "approval", find(engine, run_id).id, {}, who.strip(), once=True)


def approval(engine: Engine, run_id: str) -> str:
    """Who approved a run and when, in words; "" if nobody did."""
    entries = ledger.entries(engine, "approval", run_id)
    return f"{entries[0].who}, {entries[0].created[:19].replace('T', ' ')} UTC" if entries else ""


def approvers(engine: Engine) -> dict[str, str]:
    """Who approved, by run."""
    return {entry.subject: entry.who for entry in ledger.entries(engine, "approval")}
