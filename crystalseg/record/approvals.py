"""Signatures of runs: who signed, when, what the signature means, and which entry of the record it applies to."""

import json
from dataclasses import dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import ledger, people
from crystalseg.record.people import Person
from crystalseg.record.profiles import as_of
from crystalseg.record.runs import Run, entry_of

# What a signature can mean (21 CFR 11.50 (a)(3)). A run has one approval and any number of other signatures.
MEANINGS = ("approval", "review", "authorship")


@dataclass(frozen=True)
class Signature:
    """A signature of a run. `who` holds the name, and the identity if the signer signed in; `when` is ISO 8601;
    `meaning` is one of MEANINGS."""

    who: str
    when: str
    meaning: str

    def words(self) -> str:
        return f"{self.who}, {self.when[:19].replace('T', ' ')} UTC ({self.meaning})"


def approve(engine: Engine, run_id: str, by: Person | str, meaning: str = "approval") -> ledger.Entry:
    """Sign a run. If the run is already approved, return the existing approval.

    `by` is the person who signed in, or a typed name where nobody signs in. The entry holds the hash of the run's own
    entry, so that the signature cannot be moved to another run (21 CFR 11.70). Raises UserError if there is no such
    run, if the name is empty, or if this person may not sign the run.
    """
    who = str(by).strip()
    if not who:
        raise UserError("An approval needs the name of the approver.")
    if meaning not in MEANINGS:
        raise UserError(f"The meaning of a signature must be one of: {', '.join(MEANINGS)}.")
    identity = by.identity if isinstance(by, Person) else ""
    if not identity and people.roles(engine):
        raise UserError("Users of this record sign in. Sign on the History page, where sign-in vouches for your name.")
    entry = entry_of(engine, run_id)
    if meaning == "approval":
        _four_eyes(engine, entry, who)
    body = {"meaning": meaning, "run": entry.hash, "identity": identity}
    kind = "approval" if meaning == "approval" else "signature"
    return ledger.append(engine, kind, run_id, body, who, once=meaning == "approval")


def _of_image(engine: Engine, entry: ledger.Entry) -> list[ledger.Entry]:
    """Return the entries of all runs of the image of a run, that run first."""
    image = json.dumps({"image_sha256": entry.body.get("image_sha256", "")})[1:-1]
    others = ledger.entries(engine, "run", containing=image)
    return [entry, *(other for other in others if other.number != entry.number)]


def _makers(engine: Engine, entry: ledger.Entry) -> list[str]:
    """Return everyone who took part in a run: its operator, who requested its job, and all who corrected it."""
    run = Run.from_dict(entry.body)
    asked = [e.who for e in ledger.entries(engine, "run", run.job)] if run.job else []
    named = [entry.who, run.details.get("operator", ""), *asked, *(correction.who for correction in run.log)]
    return [name for name in named if name]


def _four_eyes(engine: Engine, entry: ledger.Entry, who: str) -> None:
    """Raise UserError if the profile of a run of this image requires approval by somebody who made none of them, and
    `who` made one. Otherwise the maker of a run could approve the same measurement as it was found, which has no
    profile."""
    runs = _of_image(engine, entry)
    used = [as_of(engine, run.body["profile"], run.number) for run in runs if run.body.get("profile")]
    if not any(profile is not None and profile.four_eyes for profile in used):
        return
    asks = "Its profile requires approval by another person"
    made_by = [_makers(engine, run) for run in runs]
    if not made_by[0]:
        raise UserError(f"Run {entry.subject} has no operator on record. {asks} than its operator.")
    made = list(dict.fromkeys(maker for makers in made_by for maker in makers))
    if any(people.same(who, maker) for maker in made):
        raise UserError(f"Run {entry.subject} was made by {', '.join(made)}. {asks}.")


def signatures(engine: Engine, run_id: str) -> list[Signature]:
    """Return the signatures of a run, the approval first."""
    entries = [e for kind in ("approval", "signature") for e in ledger.entries(engine, kind, run_id)]
    return [Signature(e.who, e.created, e.body.get("meaning", "approval")) for e in entries]


def approval(engine: Engine, run_id: str) -> str:
    """Return in words who approved a run and when, or "" if nobody did."""
    return next((s.words() for s in signatures(engine, run_id) if s.meaning == "approval"), "")
