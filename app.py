"""Entry point of the web app: the server's entrance, page configuration and navigation."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

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
# name, title, icon, and the required role
PAGES = (
    ("measure", "Measure", ":material/straighten:", "operator"),
    ("inspect", "Inspect", ":material/search:", "operator"),
    ("compare", "Compare", ":material/compare:", "operator"),
    ("correct", "Correct", ":material/edit:", "operator"),
    ("batch", "Batch", ":material/stacks:", "operator"),
    ("series", "Series", ":material/timeline:", "operator"),
    ("teach", "Teach", ":material/school:", "operator"),
    ("history", "History", ":material/history:", "viewer"),
    ("profiles", "Profiles", ":material/tune:", "operator"),
    ("audit", "Audit", ":material/policy:", "administrator"),
)


def run() -> None:
    """Run the requested page, if this person may see it."""
    entrance.check_secret()
    who = account.person()
    entered = who.may("viewer")
    offered = [entry for entry in PAGES if who.may(entry[3]) or not entered]
    pages = [
        st.Page(f"pages/{name}.py", title=title, icon=icon, url_path=name, default=name == offered[0][0])
        for name, title, icon, _ in offered
    ]
    # if nobody is signed in, the pages keep their addresses but are not listed
    page = st.navigation(pages, position="sidebar" if entered else "hidden")
    account.require("viewer")
    account.badge()
    session.restore()
    session.note()
    st.session_state["entered"] = True
    if asked_for := st.session_state.pop("asked for", ""):
        for other in pages:
            if other.url_path == asked_for:
                st.switch_page(other)
    page.run()


if get_script_run_ctx() is None:
    app = st.App(__file__, middleware=entrance.middleware())  # `streamlit run` finds and serves it
else:
    st.set_page_config(page_title="crystalseg", page_icon=":material/grain:", layout="wide")
    st.html(STYLE)
    shared.guarded(run)
