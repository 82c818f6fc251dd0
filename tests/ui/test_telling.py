from streamlit.testing.v1 import AppTest


def test_what_cannot_be_done_is_told_and_the_page_goes_on():
    def page():
        import streamlit as st

        from crystalseg.errors import UserError
        from crystalseg.ui.telling import telling

        @telling()
        def measured(name: str) -> str | None:
            if name:
                return name
            raise UserError("Name *it*.")

        with telling():
            measured("")
            raise UserError("Nothing is there.")
        st.text(str(measured("a")))
        st.text(str(measured("")))

    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.exception
    assert [error.value for error in app.error] == [r"Name \*it\*.", "Nothing is there.", r"Name \*it\*."]
    assert [text.value for text in app.text] == ["a", "None"]
