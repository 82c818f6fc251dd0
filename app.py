"""Entry point of the web app: the server's entrance, page configuration and navigation."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from crystalseg import __version__
from crystalseg.ui import account, entrance, session, shared

# People come for the image, so leave less empty space around it than Streamlit does.
STYLE = """<style>
[data-testid=stMainBlockContainer] { padding-top: 2rem; }
[data-testid=stMainBlockContainer] h1 { font-size: 2rem; padding-top: 0; }
@media (max-width: 1200px) {
  [data-testid=stMainBlockContainer] { padding-left: 2rem; padding-right: 2rem; }
  [data-testid=stMetricValue], [data-testid=stMetricValue] * { font-size: 1.2rem; white-space: normal; }
  [data-testid=stMetricLabel] * { white-space: normal; }
}
</style>"""
# {} is the version
LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 190 28" width="190" height="28">
<g fill="none" stroke="#0b6e99" stroke-width="2" stroke-linejoin="round">
<path d="M14 3 24 9v10l-10 6L4 19V9z M14 3v9 M4 19l10-7 10 7"/></g>
<g font-family="sans-serif" fill="#0b6e99"><text x="32" y="20" font-size="18" font-weight="600">crystalseg</text>
<text x="128" y="20" font-size="12">{}</text></g></svg>"""
# the groups of the menu: of each page the name, title, icon, and the required role
PAGES = {
    "Measure": (
        ("measure", "Measure", ":material/straighten:", "operator"),
        ("correct", "Correct", ":material/edit:", "operator"),
        ("inspect", "Inspect", ":material/search:", "operator"),
        ("compare", "Compare", ":material/compare:", "operator"),
    ),
    "Many images": (
        ("batch", "Batch", ":material/stacks:", "operator"),
        ("series", "Series", ":material/timeline:", "operator"),
    ),
    "Laboratory": (
        ("history", "History", ":material/history:", "viewer"),
        ("profiles", "Profiles", ":material/tune:", "operator"),
        ("teach", "Teach", ":material/school:", "operator"),
        ("audit", "Audit", ":material/policy:", "administrator"),
    ),
}


def run() -> None:
    """Run the requested page, if this person may see it."""
    entrance.check_secret()
    who = account.person()
    entered = who.may("viewer")
    offered = {
        group: [entry for entry in entries if who.may(entry[3]) or not entered] for group, entries in PAGES.items()
    }
    first = next(entry[0] for entries in offered.values() for entry in entries)
    groups = {
        group: [
            st.Page(f"pages/{name}.py", title=title, icon=icon, url_path=name, default=name == first)
            for name, title, icon, _ in entries
        ]
        for group, entries in offered.items()
        if entries
    }
    # if nobody is signed in, the pages keep their addresses but are not listed
    page = st.navigation(groups, position="sidebar" if entered else "hidden", expanded=True)
    account.require("viewer")
    account.badge()
    session.restore()
    session.note()
    st.session_state["entered"] = True
    if asked_for := st.session_state.pop("asked for", ""):
        for other in (other for pages in groups.values() for other in pages):
            if other.url_path == asked_for:
                st.switch_page(other)
    page.run()


if get_script_run_ctx() is None:
    app = st.App(__file__, middleware=entrance.middleware())  # `streamlit run` finds and serves it
else:
    st.set_page_config(page_title="crystalseg", page_icon=":material/grain:", layout="wide")
    st.html(STYLE)
    st.logo(LOGO.format(__version__), size="large")
    shared.guarded(run)
