"""The only Streamlit code in the package: session state, caches, the image viewer, shared widgets."""
