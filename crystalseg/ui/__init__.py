"""The only Streamlit code of the package: what the pages share.

In come clicks and choices; out go widgets, charts, the image viewer, and calls into the other rooms. What is worked
on lives in `session`, what all sessions share in `shared`. This room must not know how anything is computed.
"""
