"""Sign-in and roles, with what a provider says put in its place; tests/browser has a real one."""

import time

import pytest
from streamlit.testing.v1 import AppTest

from crystalseg.record import ledger
from crystalseg.record.database import open_database
from crystalseg.record.people import give_role
from crystalseg.ui import account
from tests.conftest import choose_runs, keep, labelled
from tests.record.test_runs import measured


@pytest.fixture
def signed_in(own_queue, monkeypatch):
    """Opens the app as somebody of whom the provider says this; `seconds`: since the sign-in."""
    monkeypatch.setattr(account, "is_configured", lambda: True)

    def opened(seconds=0.0, page="app.py", **said):
        said = {"iat": time.time() - seconds, **said} if said else {}
        monkeypatch.setattr(account, "claims", lambda: said)
        app = AppTest.from_file(f"../../{page}", default_timeout=60)
        app.session_state["entered"] = page != "app.py"
        return app.run()

    return opened


ADA = {"email": "Ada@x.org", "name": "Ada Kern", "sub": "1", "iss": "https://id.x.org"}


def test_a_visitor_sees_nothing_but_the_way_in(signed_in):
    app = signed_in()
    assert not app.exception
    assert [b.label for b in app.button] == ["Sign in"]
    for page in ("measure", "history", "audit"):
        app = signed_in(page=f"pages/{page}.py")
        assert [b.label for b in app.button] == ["Sign in"]


def test_a_sign_in_of_yesterday_is_over(signed_in):
    give_role(open_database(), "ada@x.org", "viewer", "")
    assert [b.label for b in signed_in(13 * 3600, **ADA).button] == ["Sign in"]


def test_who_has_no_role_is_told_so_and_noted(signed_in):
    app = signed_in(**ADA)
    assert "ada\\@x.org, but have no role here. Ask an administrator" in app.error[0].value
    (entry,) = ledger.entries(open_database(), "sign-in")
    assert (entry.who, entry.body["role"]) == ("Ada Kern <ada@x.org>", "")


@pytest.mark.parametrize(
    ("role", "barred"),
    [
        ("viewer", ["measure", "inspect", "compare", "correct", "batch", "profiles", "audit"]),
        ("operator", ["audit"]),
        ("approver", ["audit"]),
    ],
)
def test_a_page_is_closed_to_who_may_not_see_it_also_by_its_own_address(signed_in, role, barred):
    engine = open_database()
    give_role(engine, "root@x.org", "administrator", "")
    give_role(engine, "ada@x.org", role, "")
    for page in barred:
        app = signed_in(page=f"pages/{page}.py", **ADA)
        assert f"Your role is {role}" in app.error[0].value
        assert len(app.button) == len(app.get("file_uploader")) == 0


def test_a_viewer_looks_but_neither_signs_nor_issues(signed_in):
    engine, run = open_database(), measured()
    give_role(engine, "ada@x.org", "viewer", "")
    keep(engine, run)
    app = signed_in(page="pages/history.py", **ADA)
    choose_runs(app, engine, 0)
    app.run()
    assert not app.exception
    assert "same figures" in app.success[0].value
    assert not {"Sign", "Continue with this run"} & {b.label for b in app.button}
    assert [b.proto.label for b in app.get("download_button")] == ["Runs as CSV"]


def test_an_approver_signs_with_the_name_that_is_vouched_for_soon_after_signing_in(signed_in):
    engine, run = open_database(), measured()
    give_role(engine, "ada@x.org", "approver", "")
    keep(engine, run)

    def opened(seconds):
        app = signed_in(seconds, page="pages/history.py", **ADA)
        choose_runs(app, engine, 0)
        return app.run()

    late = {b.label for b in opened(16 * 60).button}
    assert "Sign in again" in late
    assert "Sign" not in late
    app = opened(60)
    assert "Your name" not in {t.label for t in app.text_input}
    labelled(app.button, "Sign").click().run()
    assert not app.exception
    (entry,) = ledger.entries(engine, "approval", run.id)
    assert (entry.who, entry.body["identity"]) == ("Ada Kern <ada@x.org>", "ada@x.org")


def test_a_role_that_is_taken_is_gone_at_once(signed_in):
    engine = open_database()
    give_role(engine, "root@x.org", "administrator", "")
    give_role(engine, "ada@x.org", "operator", "")
    app = signed_in(page="pages/profiles.py", **ADA)
    assert labelled(app.button, "Save the profile").disabled
    give_role(engine, "ada@x.org", "", "")
    assert "have no role here" in app.run().error[0].value


@pytest.mark.parametrize(
    ("said", "identity"),
    [
        ({"email": "Ada@X.org", "email_verified": True}, "ada@x.org"),
        ({"email": "ada@x.org"}, "ada@x.org"),
        ({"email": "\u212aim@x.org"}, "\u212aim@x.org"),  # the Kelvin sign is no k
        ({"email": "boss@x.org", "email_verified": "false", "iss": "https://id", "sub": "7"}, "https://id#7"),
        ({"email": "boss@x.org", "email_verified": "true", "iss": "https://id", "sub": "7"}, "https://id#7"),
        ({"iss": "https://ID", "sub": "aB"}, "https://ID#aB"),  # another person than aB in another case
        ({"email": "boss@x.org", "email_verified": False, "iss": "https://id", "sub": "7"}, "https://id#7"),
        ({"iss": "https://id", "sub": "7"}, "https://id#7"),
    ],
)
def test_an_address_that_is_not_verified_is_nobodys(said, identity):
    assert account.identity_of(said) == identity
