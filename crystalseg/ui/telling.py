"""Show errors on a page as the sentences that they carry."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from crystalseg.errors import UserError
from crystalseg.ui.plain import plain


def refuse(why: object) -> None:
    """Show a sentence in red."""
    st.error(plain(why), icon=":material/block:")


@contextmanager
def telling() -> Iterator[None]:
    """Show a UserError of this block, or of a function that this decorates, as its sentence. The page continues, and
    the function returns None."""
    try:
        yield
    except UserError as error:
        refuse(error)
