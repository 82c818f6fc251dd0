"""The address of a page names the micrograph and the run that it shows, so that a reload or another tab shows them
again."""

import re
from dataclasses import dataclass

import streamlit as st

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Shown:
    """What an address names. image: SHA-256 of the micrograph's file; name: of that file; run: the job, or ""."""

    image: str
    name: str
    run: str


def read() -> Shown | None:
    """Return what the address of the page names, or None if it names nothing."""
    asked = {key: st.query_params.get(key, "") for key in ("image", "name", "run")}
    if not _HASH.fullmatch(asked["image"]) or not asked["name"]:
        return None
    return Shown(**asked)


def write(shown: Shown | None) -> None:
    """Let the address of the page name this, or nothing."""
    wanted = {key: value for key, value in vars(shown).items() if value} if shown else {}
    for key in ("image", "name", "run"):
        if st.query_params.get(key) == wanted.get(key):
            continue
        if key in wanted:
            st.query_params[key] = wanted[key]
        else:
            del st.query_params[key]
