"""Entry of the web app: page configuration and navigation."""

import streamlit as st

st.set_page_config(page_title="crystalseg", page_icon=":material/grain:", layout="wide")
st.navigation(
    [st.Page("pages/measure.py", title="Measure", icon=":material/straighten:", url_path="measure", default=True)]
).run()
