"""Entry of the web app: page configuration and navigation."""

import streamlit as st

from crystalseg.ui import shared

st.set_page_config(page_title="crystalseg", page_icon=":material/grain:", layout="wide")
# The image is what people came for: less empty space about it than Streamlit leaves.
st.html("""<style>
[data-testid=stMainBlockContainer] { padding-top: 2rem; }
[data-testid=stMainBlockContainer] h1 { font-size: 2rem; padding-top: 0; }
@media (max-width: 1200px) {
  [data-testid=stMainBlockContainer] { padding-left: 2rem; padding-right: 2rem; }
  [data-testid=stMetricValue], [data-testid=stMetricValue] * { font-size: 1.2rem; white-space: normal; }
  [data-testid=stMetricLabel] * { white-space: normal; }
}
</style>""")
PAGES = (
    ("measure", "Measure", ":material/straighten:"),
    ("inspect", "Inspect", ":material/search:"),
    ("compare", "Compare", ":material/compare:"),
    ("correct", "Correct", ":material/edit:"),
    ("batch", "Batch", ":material/stacks:"),
    ("history", "History", ":material/history:"),
    ("profiles", "Profiles", ":material/tune:"),
)
st.session_state["entered"] = True
page = st.navigation(
    [
        st.Page(f"pages/{name}.py", title=title, icon=icon, url_path=name, default=name == "measure")
        for name, title, icon in PAGES
    ]
)
shared.guarded(page.run)
