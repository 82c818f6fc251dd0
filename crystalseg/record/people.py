"""People who sign in, and what they may do. Administrators give and take roles, on record."""

from dataclasses import dataclass

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.record import ledger, store

ROLES = ("viewer", "operator", "approver", "administrator")  # each includes the rights of those before it


@dataclass(frozen=True)
class Person:
    """A person who uses the app.

    identity: What the sign-in provider vouches for, usually an e-mail address; "" on a machine without sign-in.
    name: The displayed name.
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
        return f"{self.name} <{self.identity}>" if self.identity else self.name


def same(one: str, other: str) -> bool:
    """Return whether two names on record are the same person: by identity if both have one, else by name, ignoring case
    and spaces."""
    names, identities = zip(*map(_parts, (one, other)), strict=True)
    both = identities if all(identities) else names
    return both[0] == both[1]


def _parts(who: str) -> tuple[str, str]:
    """Split the text form of a `Person` into name and identity."""
    name, _, identity = who.partition("<")
    return " ".join(name.split()).casefold(), identity.rstrip("> ").lower()


def roles(engine: Engine) -> dict[str, str]:
    """Return the role of everyone who has one, by identity."""
    latest = {e.body["person"]: e.body["role"] for e in ledger.entries(engine, "role")}
    return {person: role for person, role in sorted(latest.items()) if role}


def give_role(engine: Engine, identity: str, role: str, who: str) -> None:
    """Replace a person's role, or take it away with "". Raises UserError, which says why it cannot be done."""
    identity = identity.strip().lower()
    if role not in (*ROLES, ""):
        raise UserError(f"There is no role '{role}'. Choose from {', '.join(ROLES)}.")
    if not 0 < len(identity) <= 254 or any(c.isspace() for c in identity):
        raise UserError("Give the role to an e-mail address, as the sign-in provider states it.")
    held = roles(engine)
    administrators = {person for person, now in held.items() if now == "administrator"}
    if administrators == {identity} and role != "administrator":
        raise UserError(f"{identity} is the only administrator. Make somebody else an administrator first.")
    if held.get(identity, "") != role:
        ledger.append(engine, "role", store.digest(identity), {"person": identity, "role": role}, who)


def note_sign_in(engine: Engine, person: Person) -> None:
    """Put on record that a person signed in and with which role: once per sign-in, however many pages are opened."""
    body = {"person": person.identity, "role": person.role}
    ledger.append(engine, "sign-in", store.digest(person.identity, person.since), body, str(person), once=True)
