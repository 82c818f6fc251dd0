import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.errors import UserError
from crystalseg.record import ledger
from crystalseg.record.database import open_database
from crystalseg.record.people import ROLES, Person, give_role, note_sign_in, roles, same


def test_each_role_may_do_what_those_before_it_may():
    for k, role in enumerate(ROLES):
        assert [Person("a@x.org", "A", role).may(other) for other in ROLES] == [n <= k for n in range(len(ROLES))]
    assert not any(Person("a@x.org", "A", "").may(role) for role in ROLES)


def test_roles_are_given_taken_and_stay_on_record():
    engine = open_database()
    give_role(engine, " Ada@X.org ", "administrator", "command line")
    give_role(engine, "ben@x.org", "viewer", "Ada <ada@x.org>")
    give_role(engine, "ben@x.org", "operator", "Ada <ada@x.org>")
    give_role(engine, "ben@x.org", "operator", "Ada <ada@x.org>")  # nothing new: no entry
    assert roles(engine) == {"ada@x.org": "administrator", "ben@x.org": "operator"}
    give_role(engine, "ben@x.org", "", "Ada <ada@x.org>")
    assert roles(engine) == {"ada@x.org": "administrator"}
    log = [(e.body["person"], e.body["role"], e.who) for e in ledger.entries(engine, "role")]
    assert log[-1] == ("ben@x.org", "", "Ada <ada@x.org>")
    assert len(log) == 4


@pytest.mark.parametrize("identity", ["", "a b@x.org", "x" * 246])
def test_a_role_is_given_to_an_address(identity):
    with pytest.raises(UserError, match="e-mail address"):
        give_role(open_database(), identity, "viewer", "")


def test_an_unknown_role_and_the_last_administrator_are_refused():
    engine = open_database()
    with pytest.raises(UserError, match="no role 'owner'"):
        give_role(engine, "ada@x.org", "owner", "")
    give_role(engine, "ada@x.org", "administrator", "")
    for role in ("viewer", ""):
        with pytest.raises(UserError, match="only administrator"):
            give_role(engine, "ada@x.org", role, "")
    give_role(engine, "ben@x.org", "administrator", "")
    give_role(engine, "ada@x.org", "viewer", "")


def test_two_administrators_who_demote_each_other_at_once_leave_one():
    engine = open_database()
    for name in ("ada", "ben"):
        give_role(engine, f"{name}@x.org", "administrator", "")
    refused = []

    def demote(name):
        try:
            give_role(engine, f"{name}@x.org", "viewer", "")
        except UserError as error:
            refused.append(str(error))

    both = [threading.Thread(target=demote, args=(name,)) for name in ("ada", "ben")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert list(roles(engine).values()).count("administrator") == 1
    assert len(refused) == 1


def test_what_a_writer_has_not_seen_of_a_kind_makes_the_entry_stale():
    engine = open_database()
    give_role(engine, "ada@x.org", "administrator", "")
    with pytest.raises(ledger.StaleError):
        ledger.append(engine, "role", "other", {"person": "ben@x.org", "role": ""}, "", after_any=0)


NAMES = st.text(max_size=300)
IDENTITIES = st.from_regex(r"[a-z]{1,60}@[a-z]{1,60}\.org", fullmatch=True)


@given(NAMES, IDENTITIES, NAMES, IDENTITIES)
def test_nobody_s_name_makes_them_somebody_else(name, identity, other_name, other_identity):
    one, other = str(Person(identity, name, "operator")), str(Person(other_identity, other_name, "operator"))
    assert len(one) <= ledger.LONGEST_NAME
    assert one.endswith(f"<{identity}>")
    assert same(one, other) == (identity == other_identity)
    assert same(one, str(Person(identity, other_name, "operator")))


@pytest.mark.parametrize("name", ["Ada Kern <x", " " * 250, "Ben <ben@x.org>", "x" * 300, "<<>>", "a\u202eb"])
def test_names_that_were_parsed_for_an_identity(name):
    person = Person("ada@x.org", name, "operator")
    assert same(str(person), "Ada <ada@x.org>")
    assert not same(str(person), "Ben <ben@x.org>")
    entry = ledger.append(open_database(), "sign-in", "s", {}, str(person))
    assert same(entry.who, "Ada <ada@x.org>")


def test_the_longest_identity_is_on_record_whole():
    identity = "a" * 239 + "@x.org"
    give_role(open_database(), identity, "operator", "")
    entry = ledger.append(open_database(), "sign-in", "s", {}, str(Person(identity, "Ada", "operator")))
    assert same(entry.who, f"Ada <{identity}>")


def test_a_sign_in_is_noted_once():
    engine = open_database()
    ada = Person("ada@x.org", "Ada", "viewer", 1000.0)
    for _ in range(3):
        note_sign_in(engine, ada)
    note_sign_in(engine, Person("ada@x.org", "Ada", "operator", 2000.0))
    assert [e.body["role"] for e in ledger.entries(engine, "sign-in")] == ["viewer", "operator"]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Ada Kern", " ada  KERN ", True),
        ("Ada Kern <ada@x.org>", "A. Kern <ADA@x.org>", True),
        ("Ada Kern <ada@x.org>", "Ada Kern", True),  # typed before there was a sign-in
        ("Ada Kern <ada@x.org>", "Ada Kern <ada@y.org>", False),
        ("Ada Kern", "Ben Alt", False),
    ],
)
def test_names_are_one_persons(one, other, alike):
    assert same(one, other) is same(other, one) is alike
