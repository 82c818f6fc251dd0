"""Sign-in with a real OpenID Connect provider, from the first administrator to a signature, in a real Chromium."""

import json
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import expect

from crystalseg.record import ledger
from crystalseg.record.approvals import signatures
from crystalseg.record.database import open_database
from crystalseg.record.people import give_role, roles
from tests.browser.serving import chromium, free_port, served
from tests.conftest import keep
from tests.record.test_runs import measured

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)


@pytest.fixture
def provider():
    """Its address; it knows Ada, Ben and a stranger whose address nobody checked."""
    port = free_port()
    users = [
        {"sub": "ada", "email": "ada@x.org", "email_verified": True, "name": "Ada Kern"},
        {"sub": "ben", "email": "ben@x.org", "email_verified": True, "name": "Ben Alt"},
        {"sub": "eve", "email": "ada@x.org", "email_verified": False, "name": "Ada Kern"},
    ]
    claims = [word for user in users for word in ("--user-claims", json.dumps(user))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *claims]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/.well-known/openid-configuration"
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=1)
            break
        except OSError:
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture
def address(provider, tmp_path, quick_example):
    """The app's address, with sign-in; its record is this test's, too."""
    port = free_port()
    secrets = tmp_path / "secrets.toml"
    secrets.write_text(f"""[auth]
redirect_uri = "http://localhost:{port}/oauth2callback"
cookie_secret = "a secret of this test only, which is long enough"
client_id = "crystalseg"
client_secret = "another"
server_metadata_url = "{provider}"
client_kwargs = {{ prompt = "login" }}
""")
    with served(tmp_path / "home", "--secrets.files", str(secrets), port=port):
        yield f"http://localhost:{port}"


def signed_in(browser, address, subject):
    """A page of somebody who went to the provider and back."""
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}/history")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/oauth2/authorize**")
    page.get_by_role("button", name=subject, exact=True).click()
    page.wait_for_url(f"{address}/**")
    return page


def test_roles_from_the_first_administrator_to_a_signature(address):
    engine, run = open_database(), measured()
    keep(engine, run)
    give_role(engine, "ada@x.org", "administrator", "command line")
    with chromium() as browser:
        # the same address, but nobody checked that it is hers: no role, nothing to see
        eve = signed_in(browser, address, "eve")
        expect(eve.get_by_text("but have no role here")).to_be_visible()
        expect(eve.get_by_text("Audit")).to_have_count(0)

        ada = signed_in(browser, address, "ada")
        ada.get_by_role("link", name="Audit").click()
        ada.get_by_role("textbox", name="E-mail address").fill("ben@x.org")
        ada.get_by_role("button", name="Give the role").click()
        expect(ada.get_by_role("textbox", name="E-mail address")).to_have_value("")
        end = time.monotonic() + 30
        while "ben@x.org" not in roles(engine) and time.monotonic() < end:
            time.sleep(0.2)
        assert roles(engine) == {"ada@x.org": "administrator", "ben@x.org": "viewer"}
        (*_, given) = ledger.entries(engine, "role")
        assert given.who == "Ada Kern <ada@x.org>"

        ben = signed_in(browser, address, "ben")
        expect(ben.get_by_role("heading", name="History")).to_be_visible()
        expect(ben.get_by_role("link", name="Measure")).to_have_count(0)
        ben.goto(f"{address}/audit")  # by hand
        expect(ben.get_by_role("heading", name="History")).to_be_visible()

        ada.get_by_role("link", name="History").click()
        expect(ada.get_by_role("heading", name="Trend of the runs found")).to_be_visible()
        search = ada.get_by_role("textbox", name="Search")
        search.fill(run.id)  # the example's run is listed too
        search.press("Enter")
        expect(ada.get_by_text("needs two or more runs")).to_be_visible(timeout=30_000)  # it alone is listed
        canvas = ada.get_by_test_id("stDataFrame").first
        expect(canvas).to_be_visible()
        ada.wait_for_timeout(1000)
        canvas.click(position={"x": 15, "y": 52})
        ada.get_by_role("button", name="Sign", exact=True).click()
        expect(ada.get_by_text("UTC (approval)")).to_be_visible()
        (signature,) = signatures(engine, run.id)
        assert (signature.who, signature.meaning) == ("Ada Kern <ada@x.org>", "approval")

        ada.get_by_test_id("stSidebar").get_by_role("button").last.click()  # out
        ada.wait_for_url("**/end_session**")  # the provider is told, too
        ada.goto(address)
        expect(ada.get_by_role("button", name="Sign in")).to_be_visible()
