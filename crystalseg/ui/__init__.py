"""The only Streamlit code of the package: everything that the pages share.

The input is clicks and choices. The output is widgets, charts, the image viewer, and calls into the other packages.
`session` holds what one session works on, `shared` what all sessions share. This package must not know how anything is
computed.
"""
