"""The form for the details of a report, without a button and with a memory."""

import pytest
from streamlit.testing.v1 import AppTest

from crystalseg.record import preferences
from tests.conftest import labelled


@pytest.fixture
def form(own_home, monkeypatch):
    def page():
        import streamlit as st

        from crystalseg.record.profiles import Profile
        from crystalseg.ui.details import choose_details

        st.session_state["said"] = choose_details("image 1", Profile(st.session_state.get("profile", "powder")))

    return lambda **state: _open(page, state)


def _open(page, state):
    app = AppTest.from_function(page)
    for key, value in state.items():
        app.session_state[key] = value
    return app.run()


def said(app):
    assert not app.exception
    return app.session_state["said"]


def test_what_stands_in_the_form_is_in_the_report(form):
    app = form()
    labelled(app.text_input, "Laboratory").set_value("Labor Süd").run()
    labelled(app.text_input, "Sample").set_value("S 7").run()
    labelled(app.text_area, "Remarks").set_value("etched").run()
    assert (said(app).laboratory, said(app).sample, said(app).remarks) == ("Labor Süd", "S 7", "etched")


def test_the_next_session_offers_what_was_entered_but_nothing_of_the_sample(form):
    app = form()
    entered = {"Operator": "A. Kern", "Laboratory": "Labor Süd", "Customer": "Hütte", "Sample": "S 7"}
    for label, value in entered.items():
        labelled(app.text_input, label).set_value(value).run()
    labelled(app.selectbox, "Paper").select("Letter").run()
    again = said(form())
    assert (again.operator, again.laboratory, again.customer, again.paper) == (
        "A. Kern",
        "Labor Süd",
        "Hütte",
        "Letter",
    )
    assert again.sample == ""


def test_each_profile_has_its_own_customer(form):
    for profile, customer in (("powder", "Hütte"), ("brick", "Ofenbau")):
        app = form(profile=profile)
        labelled(app.text_input, "Customer").set_value(customer).run()
    assert said(form(profile="powder")).customer == "Hütte"
    assert said(form(profile="a new one")).customer == "Ofenbau"


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"laboratory": 3, "logo": "?", "paper": "A0"}', b"\xff"])
def test_a_damaged_file_of_preferences_is_as_good_as_none(form, content):
    preferences.remember("", "laboratory", "Labor Süd")
    preferences._place("").write_bytes(content)
    found = said(form())
    assert (found.laboratory, found.paper, found.logo) == ("", "A4", b"")


def test_people_do_not_share_what_they_entered(own_home):
    preferences.remember("issuer#1", "laboratory", "Labor Süd")
    assert preferences.recall("issuer#2") == {}
