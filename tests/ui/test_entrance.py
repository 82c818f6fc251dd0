import os
import stat
import tomllib

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from crystalseg.cli.web import write_secrets
from crystalseg.errors import UserError
from crystalseg.ui import entrance


@pytest.fixture
def served():
    """A server with a page and a websocket behind the entrance."""

    async def page(_):
        return PlainTextResponse("page")

    async def socket(websocket):
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    routes = [Route("/{rest:path}", page, methods=["GET", "PUT"]), WebSocketRoute("/_stcore/stream", socket)]
    return TestClient(Starlette(routes=routes, middleware=entrance.middleware()), base_url="http://localhost:8501")


OURS = ["localhost", "LOCALHOST:8501", "127.0.0.1:8501", "[::1]:8501", "192.168.1.7", "crystals.example.org"]
FOREIGN = ["evil.com", "evil.com:8501", "localhost.evil.com", "127.0.0.1.evil.com", "", "]", "localhost@evil.com"]


@pytest.mark.parametrize("host", OURS)
def test_its_own_names_are_answered(served, host, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_HOSTS", "Crystals.example.org, other.example.org")
    headers = {"host": host, "origin": f"http://{host}"}
    assert served.get("/measure", headers=headers).text == "page"
    with served.websocket_connect("/_stcore/stream", headers=headers) as socket:
        assert socket.receive_text() == "hello"


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/measure", "/_stcore/upload_file/1", "/media/x.png", "/_stcore/health"])
def test_a_foreign_name_is_refused_on_every_route(served, host, path):
    for headers in ({"host": host}, {"host": host, "origin": f"http://{host}"}):
        for answer in (served.get(path, headers=headers), served.put(path, headers=headers)):
            assert answer.status_code == 403
            assert "CRYSTALSEG_HOSTS" in answer.text


@pytest.mark.parametrize("headers", [{"host": "evil.com", "origin": "http://evil.com"}, {"origin": "http://evil.com"}])
def test_a_foreign_page_has_no_websocket(served, headers):
    with pytest.raises(WebSocketDisconnect), served.websocket_connect("/_stcore/stream", headers=headers):
        pass


def test_a_foreign_origin_is_refused_though_the_host_is_ours(served):
    assert served.get("/", headers={"origin": "http://evil.com"}).status_code == 403
    assert served.get("/", headers={"origin": "null"}).status_code == 403


def test_metrics_are_closed(served):
    assert served.get("/_stcore/metrics").status_code == 403
    assert served.get("/_stcore/metrics/").status_code == 403


@pytest.mark.parametrize(
    "secret",
    [
        "32 or more random characters: openssl rand -hex 32",
        "short",
        "a" * 64,
        "",
        "change me change me change me change me",
    ],
)
def test_a_key_that_can_be_guessed_is_refused(secret, monkeypatch):
    monkeypatch.setattr(st, "secrets", {"auth": {"cookie_secret": secret}})
    with pytest.raises(UserError, match="crystalseg secrets FILE"):
        entrance.check_secret()


def test_without_sign_in_there_is_no_key_to_check(monkeypatch):
    monkeypatch.setattr(st, "secrets", {})
    entrance.check_secret()


def test_a_secrets_file_is_good_private_and_never_overwritten(tmp_path, monkeypatch):
    file = tmp_path / "secrets.toml"
    given = ("https://c.example.org/oauth2callback", "me", "from the provider", "https://id/.well-known/x")
    write_secrets(file, *given)
    written = tomllib.loads(file.read_text())
    assert written["auth"]["client_secret"] == "from the provider"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    monkeypatch.setattr(st, "secrets", written)
    entrance.check_secret()
    with pytest.raises(UserError, match="exists"):
        write_secrets(file, *given)
    with pytest.raises(UserError, match="client_id contains"):
        write_secrets(tmp_path / "other.toml", given[0], 'a"\n[x]', *given[2:])
    assert not (tmp_path / "other.toml").exists()
