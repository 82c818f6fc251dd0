"""Reports handed out: on record with their files."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Engine

from crystalseg.record import ledger, store


def issue(engine: Engine, runs: Sequence[str], form: str, data: bytes, who: str = "") -> bytes:
    """Put a report on record as it is handed out, its file and of which runs it is; returns `data`."""
    body = {"form": form, "runs": list(runs), "files": {f"{form} report": store.put(data)}}
    ledger.append(engine, "report", runs[0], body, who)
    return data


def issued(engine: Engine, data: bytes) -> ledger.Entry:
    """The entry of a report by its bytes; ValueError if no report on record is exactly this file."""
    sha256 = hashlib.sha256(data).hexdigest()
    entries = [e for e in ledger.entries(engine, "report") if sha256 in e.body["files"].values()]
    if not entries:
        raise ValueError("This file is no report on record: it was changed since, or comes from elsewhere.")
    return entries[0]


def reports_of(engine: Engine, run_id: str) -> list[ledger.Entry]:
    """The reports issued of a run, oldest first."""
    return [e for e in ledger.entries(engine, "report") if run_id in e.body["runs"]]
