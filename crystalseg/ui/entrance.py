"""The entrance of the server: which names of this machine it answers to, checked on every route before Streamlit.

Without this check, a foreign page whose name is made to point at this machine (DNS rebinding) could read everything a
visitor without sign-in may read. An address in numbers is always answered as a host, because no foreign name can
point at it; as an origin it passes here, and Streamlit compares it with the host of its websocket.
"""

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from streamlit.errors import StreamlitSecretNotFoundError

from crystalseg import environment
from crystalseg.errors import UserError

THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
CLOSED = ("/_stcore/metrics",)  # routes that tell about other people's visits
PLACEHOLDERS = ("openssl rand", "random characters", "change me", "changeme")

_Messages = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gate:
    """Refuses requests whose host or origin is not a name of this server (ASGI middleware)."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Messages, send: _Send) -> None:
        if scope["type"] in ("http", "websocket"):
            why = refusal(scope["path"], {key.decode("latin-1"): v.decode("latin-1") for key, v in scope["headers"]})
            if why and scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": why[:120]})
                return
            if why:
                await PlainTextResponse(why, 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def middleware() -> list[Middleware]:
    """Return what stands before Streamlit in the server."""
    return [Middleware(Gate)]


def refusal(path: str, headers: dict[str, str]) -> str:
    """Return why a request for `path` is refused, in a sentence, or "" if it is not. Header names are lower case."""
    if path.rstrip("/").endswith(CLOSED):
        return "This server does not offer that."
    for header in ("host", "origin"):
        said = headers.get(header, "")
        name = _name(said if header == "origin" else f"//{said}")
        if (said or header == "host") and not _is_ours(name):
            return (
                f"This server does not answer to the name {name[:80] or '(none)'}. If it is its name, whoever runs the "
                "server adds it to CRYSTALSEG_HOSTS."
            )
    return ""


def _name(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _is_ours(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
        return True
    except ValueError:
        return name in (*THIS_MACHINE, *environment.hosts())


def signs_in() -> bool:
    """Return whether people sign in: whether `[auth]` is among Streamlit's secrets."""
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:
        return False


def check_secret() -> None:
    """Raise UserError if people sign in but the key that signs their cookies can be guessed: whoever knows it can sign
    in as anybody."""
    if not signs_in():
        return
    secret = str(st.secrets["auth"].get("cookie_secret", ""))
    guessed = any(words in secret.lower() for words in PLACEHOLDERS)
    if guessed or len(secret.encode()) < environment.SHORTEST_SECRET or len(set(secret)) < 10:
        raise UserError(
            "Sign-in is switched on with a cookie_secret that can be guessed. Write a good secrets file with: "
            "python -m crystalseg secrets FILE."
        )
