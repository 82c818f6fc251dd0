"""The entrance of the server: which names of this machine it answers to, checked on every route before Streamlit.

Without this check, a foreign page whose name is made to point at this machine (DNS rebinding) could read everything a
visitor without sign-in may read. An address in numbers is always answered, because no foreign page can have it as its
name.
"""

import ipaddress
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
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
SHORTEST_SECRET = 32  # bytes of the key that signs cookies: those of the SHA-256 that signs (RFC 7518, 3.2)
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
    if guessed or len(secret.encode()) < SHORTEST_SECRET or len(set(secret)) < 10:
        raise UserError(
            "Sign-in is switched on with a cookie_secret that can be guessed. Write a good secrets file with: "
            "python -m crystalseg secrets FILE."
        )


def write_secrets(file: Path, redirect_uri: str, client_id: str, client_secret: str, metadata_url: str) -> None:
    """Write a secrets file for sign-in with a random `cookie_secret`, readable by its owner only. Raises UserError if
    the file exists."""
    lines = {
        "redirect_uri": redirect_uri,
        "cookie_secret": secrets.token_hex(SHORTEST_SECRET),
        "client_id": client_id,
        "client_secret": client_secret,
        "server_metadata_url": metadata_url,
    }
    for name, text in lines.items():
        if any(c in '"\\' or ord(c) < 32 for c in text):
            raise UserError(f"{name} contains a character that does not belong there. Copy it again.")
    words = ["[auth]", *(f'{name} = "{text}"' for name, text in lines.items())]
    # A signature needs a sign-in of the last minutes: the provider asks for the password each time.
    words.append('client_kwargs = { prompt = "login" }')
    try:
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write("\n".join(words) + "\n")
    except FileExistsError as error:
        raise UserError(f"{file} exists. Move it away first, because it may be in use.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}.") from error
