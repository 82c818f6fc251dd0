"""People who sign in, and what they may do. Administrators give and take roles, on record."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.micrographs.names import visible
from crystalseg.record import ledger, store

ROLES = ("viewer", "operator", "approver", "administrator")  # each includes the rights of those before it
LONGEST = ledger.LONGEST_NAME - 10  # characters of an identity, so that its text on record is never cut
_NO_BRACKETS = str.maketrans("", "", "<>")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Person:
    """A person who uses the app.

    identity: What the sign-in provider vouches for, usually an e-mail address; "" on a machine without sign-in.
    name: The displayed name. Its owner chooses it, so nothing is decided by it where there is an identity.
    role: One of ROLES, "" for none.
    since: The time of sign-in, s since 1970.
    """

    identity: str
    name: str
    role: str
    since: float = 0.0

    def may(self, role: str) -> bool:
        """Return whether this person has the rights of `role`."""
        return bool(self.role) and ROLES.index(self.role) >= ROLES.index(role)

    def __str__(self) -> str:
        """Return the text that goes on record: the name, cut where necessary, and the whole identity in brackets."""
        if not self.identity:
            return clean(self.name)
        room = ledger.LONGEST_NAME - len(self.identity) - len(" <>")
        return f"{clean(self.name)[: max(room, 0)].strip()} <{self.identity}>"


def clean(name: str) -> str:
    """Return a name on one line without the brackets that enclose identities on record."""
    return " ".join(visible(name).translate(_NO_BRACKETS).split())


def folded(identity: str) -> str:
    """Return an e-mail address in lower case. Only ASCII letters change, because other letters, such as the Kelvin
    sign, would become those of another address. An issuer with a subject (`#`) stays as it is: subjects that differ in
    case are different people (OpenID Connect Core, 2)."""
    return identity if "#" in identity else identity.translate(_LOWER)


def same(one: str, other: str) -> bool:
    """Return whether two names on record are the same person: by identity if both have one, else by name, ignoring case
    and spaces."""
    names, identities = zip(*map(_parts, (one, other)), strict=True)
    both = identities if all(identities) else names
    return both[0] == both[1]


def _parts(who: str) -> tuple[str, str]:
    """Split the text form of a `Person` into name and identity. Only what the last brackets enclose is an identity."""
    name, bracket, identity = who.strip().rpartition("<")
    if not bracket or not identity.endswith(">"):
        name, identity = who, ""
    return " ".join(name.split()).casefold(), folded(identity.removesuffix(">"))


def roles(engine: Engine) -> dict[str, str]:
    """Return the role of everyone who has one, by identity."""
    return _held(ledger.entries(engine, "role"))


def _held(given: Sequence[ledger.Entry]) -> dict[str, str]:
    latest = {e.body["person"]: e.body["role"] for e in given}
    return {person: role for person, role in sorted(latest.items()) if role}


def give_role(engine: Engine, identity: str, role: str, who: str) -> None:
    """Replace a person's role, or take it away with "". Raises UserError, which says why it cannot be done."""
    identity = folded(identity.strip())
    if role not in (*ROLES, ""):
        raise UserError(f"There is no role '{role}'. Choose from {', '.join(ROLES)}.")
    if not 0 < len(identity) <= LONGEST or any(c.isspace() for c in identity):
        raise UserError("Give the role to an e-mail address, as the sign-in provider states it.")
    while True:
        given = ledger.entries(engine, "role")
        held = _held(given)
        administrators = {person for person, now in held.items() if now == "administrator"}
        if administrators == {identity} and role != "administrator":
            raise UserError(f"{identity} is the only administrator. Make somebody else an administrator first.")
        if held.get(identity, "") == role:
            return
        seen = given[-1].number if given else 0
        try:
            body = {"person": identity, "role": role}
            ledger.append(engine, "role", store.digest(identity), body, who, after_any=seen)
            return
        except ledger.StaleError:
            continue  # somebody else changed a role meanwhile: decide again


def note_sign_in(engine: Engine, person: Person) -> None:
    """Put on record that a person signed in and with which role: once per sign-in, however many pages are opened."""
    body = {"person": person.identity, "role": person.role}
    ledger.append(engine, "sign-in", store.digest(person.identity, person.since), body, str(person), once=True)
