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
    """Return the entry of a report from its bytes. Raises UserError if no report on record is exactly this file.

    The index only says where to look: the entry itself, as it was written, has to name the file. If the index knows no
    such entry, the entries are searched.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    found = _naming(engine, sha256, index.reports_with(engine, sha256))
    if not found:
        written = ledger.entries(engine, "report", containing=sha256)
        found = _naming(engine, sha256, [entry.number for entry in written])
    if not found:
        raise UserError("No report on record is exactly this file. It was changed, or it comes from another record.")
    return found[0]


def _naming(engine: Engine, sha256: str, numbers: Sequence[int]) -> list[ledger.Entry]:
    """Return those of the entries that are reports with this file."""
    reports = [entry for entry in ledger.numbered(engine, numbers) if entry.kind == "report"]
    return [entry for entry in reports if sha256 in ledger.files_in(entry.body).values()]


def reports_of(engine: Engine, run_id: str) -> list[ledger.Entry]:
    """Return the entries of the reports issued on a run, oldest first."""
    reports = [entry for entry in ledger.numbered(engine, index.reports(engine, run_id)) if entry.kind == "report"]
    return [entry for entry in reports if run_id in entry.body["runs"]]
