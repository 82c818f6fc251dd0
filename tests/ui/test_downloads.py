"""The button behind which a file is."""

from streamlit.testing.v1 import AppTest


def _app():
    import streamlit as st

    from crystalseg.ui.downloads import offer

    offer(st, "Table", lambda: "a,b", "table.csv", "text/csv", key="table")


def test_a_click_does_not_draw_the_page_anew():
    (button,) = AppTest.from_function(_app).run().get("download_button")
    assert button.proto.label == "Table"
    assert button.proto.ignore_rerun
