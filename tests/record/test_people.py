import pytest

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


@pytest.mark.parametrize("identity", ["", "a b@x.org", "x" * 255])
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
