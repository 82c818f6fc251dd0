"""Reports handed out, on record with their files."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import index, ledger, store


def issue(engine: Engine, runs: Sequence[str], form: str, data: bytes, who: str = "") -> bytes:
    """Put a report on record as it is handed out, with its file and the runs it is about. Return `data`."""
    body = {"form": form, "runs": list(runs), "files": {f"{form} report": store.put(data)}}
    ledger.append(engine, "report", runs[0], body, who)
    return data


def issued(engine: Engine, data: bytes) -> ledger.Entry:
    """Return the entry of a report from its bytes. Raises UserError if no report on record is exactly this file."""
    numbers = index.reports_with(engine, hashlib.sha256(data).hexdigest())
    if not numbers:
        raise UserError("No report on record is exactly this file. It was changed, or it comes from another record.")
    return ledger.numbered(engine, numbers[:1])[0]


def reports_of(engine: Engine, run_id: str) -> list[ledger.Entry]:
    """Return the entries of the reports issued on a run, oldest first."""
    return ledger.numbered(engine, index.reports(engine, run_id))
