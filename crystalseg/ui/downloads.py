"""Download buttons."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import streamlit as st

from crystalseg.report.handouts import Handout


def offer(
    place: Any,
    words: str,
    data: bytes | str | Callable[[], bytes | str],
    name: str,
    kind: str | None = None,
    **look: Any,
) -> None:
    """Show a download button at `place`, the page or a column of it. `data` may be a function that makes it on a click.

    The click does not rerun the page. When a page starts to rerun, Streamlit drops everything it has not sent,
    including the message that the file is ready. A file made quickly would then never arrive, and its button would stay
    busy.
    """
    place.download_button(words, data, name, kind, on_click="ignore", **look)


def offer_each(
    rows: Iterable[Handout], make: Callable[[Handout], bytes], stem: str, across: int = 3, key: str = ""
) -> None:
    """Show a button for each handout, in `across` columns. stem: start of the file names; key: distinguishes lists on a
    page with several of them."""
    columns = st.columns(across)
    for k, row in enumerate(rows):
        offer(
            columns[k % across],
            row.words,
            partial(make, row),
            f"{stem}_{row.ending}",
            row.media_type,
            key=f"file {row.key} {key}",
            type="primary" if k == 0 else "secondary",
            width="stretch",
        )
