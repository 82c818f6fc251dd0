"""Escape text that users typed, or names of files, for pages that would render it as Markdown or HTML."""

import html
import re

from crystalseg.micrographs.names import visible

_MARKS = re.compile(r"([\\`*_\[\]<>&$:~|!@]|(?<=www)\.)")  # characters with a meaning in a line of Markdown
_EMOJI = re.compile(r":(?=[a-z+-][\w+-]*:)")  # Streamlit replaces these names after parsing Markdown
_FIRST = re.compile(r"^(\d*)([#+\-=>.)])")  # characters with a meaning at its start


def plain(text: object) -> str:
    """Return the text escaped and on one line, for `st.markdown` and everything else that renders Markdown (errors,
    captions, headings, labels of radio buttons)."""
    unnamed = _EMOJI.sub(":\u2060", visible(text).strip())
    return _FIRST.sub(r"\1\\\2", _MARKS.sub(r"\\\1", unnamed))


def in_chart(text: object) -> str:
    """Return the text escaped for names and hover texts of plotly, which renders some HTML."""
    return html.escape(visible(text), quote=False)
