"""The form for the details of a report. What is entered is in the next report, and is offered again next time."""

import base64
import binascii

import streamlit as st

from crystalseg.record.profiles import Profile
from crystalseg.report.content import PRESETS
from crystalseg.report.pdf import PAGES
from crystalseg.report.report import Details
from crystalseg.ui import account
from crystalseg.ui.choices import kept


def choose_details(sample: str, profile: Profile | None) -> Details:
    """Show the form and return what it says.

    sample: identifies the sample, whose own details are kept for this session only. The rest is remembered for the
    person; customer and material are remembered for the profile too.
    """
    product = profile.name if profile else ""
    columns = st.columns(3)
    said = {
        "sample": columns[0].text_input("Sample", **kept(f"sample {sample}", "")),
        "material": columns[1].text_input("Material", **account.remembered("material", product)),
    }
    with columns[2]:
        said["operator"] = account.name_box("operator", label="Operator")
    said["customer"] = columns[0].text_input("Customer", **account.remembered("customer", product))
    said["laboratory"] = columns[1].text_input("Laboratory", **account.remembered("laboratory"))
    said["company"] = columns[2].text_input("Company", **account.remembered("company"))
    said["received"] = columns[0].text_input("Date received", **kept(f"received {sample}", ""))
    papers = list(PAGES)
    said["paper"] = columns[1].selectbox(
        "Paper", papers, **account.remembered("paper", value=papers[0], offered=papers)
    )
    presets = ["", *PRESETS]
    said["preset"] = columns[2].selectbox(
        "Report",
        presets,
        format_func=lambda preset: preset or "as the profile says",
        help="Customer: about two pages and the annex. Laboratory: with figures by standard, budget and method. "
        "Complete: with test lines, scales and attention too.",
        **account.remembered("report", product, offered=presets),
    )
    logo = _logo()
    said["remarks"] = st.text_area("Remarks", height=70, **kept(f"remarks {sample}", ""))
    return Details(**said, logo=logo)


def _logo() -> bytes:
    """Choose a logo, or keep the last one."""
    new = st.file_uploader("Logo", type=["png", "jpg"], help="For the head of the report. It is kept for next time.")
    if new is not None:
        account.remember("logo", base64.b64encode(new.getvalue()).decode())
        return new.getvalue()
    try:
        held = base64.b64decode(account.recalled().get("logo", ""), validate=True)
    except (TypeError, binascii.Error):
        held = b""
    if held and st.checkbox("The logo of last time", **kept("logo of last time", True)):
        st.image(held, width=80)
        return held
    return b""
