"""What cannot be done, told on a page in the sentence of its error."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.ui.plain import plain


def refuse(why: object) -> None:
    """A sentence in red."""
    st.error(plain(why), icon=":material/block:")


@contextmanager
def telling() -> Iterator[None]:
    """What cannot be done in here, or in a function that this decorates, is told in its sentence; the page goes on
    behind, and the function returns None."""
    try:
        yield
    except UserError as error:
        refuse(error)
