"""Signatures under runs: who, when, what it means, and which entry of the record it is about."""

from dataclasses import dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import ledger, people
from crystalseg.record.people import Person
from crystalseg.record.profiles import as_of
from crystalseg.record.runs import Run, entry_of

# What a signature can mean (21 CFR 11.50 (a)(3)). A run is approved once; other signatures may be several.
MEANINGS = ("approval", "review", "authorship")


@dataclass(frozen=True)
class Signature:
    """who: name, and identity if they signed in; when: ISO 8601; meaning: one of MEANINGS."""

    who: str
    when: str
    meaning: str

    def words(self) -> str:
        return f"{self.who}, {self.when[:19].replace('T', ' ')} UTC ({self.meaning})"


def approve(engine: Engine, run_id: str, by: Person | str, meaning: str = "approval") -> ledger.Entry:
    """Sign a run; an approval of one that is approved already is the approval there is. `by`: who signed in, or a name
    as typed where nobody signs in.

    The entry holds the hash of the run's own entry, so that it cannot be moved to another (21 CFR 11.70). UserError
    if there is no such run, or nobody's name, or they may not sign it.
    """
    who = str(by).strip()
    if not who:
        raise UserError("An approval needs the name of who approves.")
    if meaning not in MEANINGS:
        raise UserError(f"A signature means one of: {', '.join(MEANINGS)}.")
    identity = by.identity if isinstance(by, Person) else ""
    if not identity and people.roles(engine):
        raise UserError("People of this record sign in: sign on its History page, with a name that is vouched for.")
    entry = entry_of(engine, run_id)
    if meaning == "approval":
        _four_eyes(engine, entry, who)
    body = {"meaning": meaning, "run": entry.hash, "identity": identity}
    kind = "approval" if meaning == "approval" else "signature"
    return ledger.append(engine, kind, run_id, body, who, once=meaning == "approval")


def makers(engine: Engine, entry: ledger.Entry) -> list[str]:
    """Who had a hand in the run of an entry: its operator, who asked for its job, and all who corrected it."""
    run = Run.from_dict(entry.body)
    asked = [e.who for e in ledger.entries(engine, "run", run.job)] if run.job else []
    named = [entry.who, run.details.get("operator", ""), *asked, *(correction.who for correction in run.log)]
    return list(dict.fromkeys(filter(None, named)))


def _four_eyes(engine: Engine, entry: ledger.Entry, who: str) -> None:
    """UserError if the run's profile asks for approval by somebody else than who made it, and this is not."""
    name = entry.body.get("profile")
    profile = as_of(engine, name, entry.number) if name else None
    if profile is None or not profile.four_eyes:
        return
    made = makers(engine, entry)
    asks = "its profile asks for approval by another person"
    if not made:
        raise UserError(f"Run {entry.subject}: {asks} than its operator, and none is on record.")
    if any(people.same(who, maker) for maker in made):
        raise UserError(f"Run {entry.subject} was made by {', '.join(made)}: {asks}.")


def signatures(engine: Engine, run_id: str) -> list[Signature]:
    """Those under a run, the approval first."""
    entries = [e for kind in ("approval", "signature") for e in ledger.entries(engine, kind, run_id)]
    return [Signature(e.who, e.created, e.body.get("meaning", "approval")) for e in entries]


def approval(engine: Engine, run_id: str) -> str:
    """Who approved a run and when, in words; "" if nobody did."""
    return next((s.words() for s in signatures(engine, run_id) if s.meaning == "approval"), "")
