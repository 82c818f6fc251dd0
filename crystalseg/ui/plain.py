"""What users typed or named files by, on pages that would take it for Markdown or HTML."""

import html
import re

from crystalseg.micrographs.names import visible

_MARKS = re.compile(r"([\\`*_\[\]<>&$:~|!@]|(?<=www)\.)")  # what has a meaning within a line of Markdown
_EMOJI = re.compile(r":(?=[a-z+-][\w+-]*:)")  # Streamlit draws these by name, after Markdown is parsed
_FIRST = re.compile(r"^(\d*)([#+\-=>.)])")  # and at its beginning


def plain(text: object) -> str:
    """For `st.markdown` and all that renders Markdown (errors, captions, headings, labels of radio buttons): the text
    as it is, on one line."""
    unnamed = _EMOJI.sub(":\u2060", visible(text).strip())
    return _FIRST.sub(r"\1\\\2", _MARKS.sub(r"\\\1", unnamed))


def in_chart(text: object) -> str:
    """For names and hover texts of plotly, which renders some HTML."""
    return html.escape(visible(text), quote=False)
