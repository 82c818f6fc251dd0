"""The buttons behind which files are."""

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
    """A download button at `place`: the page or a column of it; `data` may be made when it is clicked.

    The click does not draw the page anew. Streamlit drops what it has not yet sent when a page starts anew, with it
    the answer that the file is ready: a file made in no time never came, and its button stayed busy for minutes.
    """
    place.download_button(words, data, name, kind, on_click="ignore", **look)


def offer_each(
    rows: Iterable[Handout], make: Callable[[Handout], bytes], stem: str, across: int = 3, key: str = ""
) -> None:
    """A button for each of these, in `across` columns; `stem`: what the files' names begin with; `key`: where the page
    offers several such lists."""
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
