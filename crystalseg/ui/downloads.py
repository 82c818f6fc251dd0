"""The button behind which a file is."""

from collections.abc import Callable
from typing import Any


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
