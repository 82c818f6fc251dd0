import pytest
from streamlit.testing.v1 import AppTest

from crystalseg.segmentation.settings import Measuring, SettingsError
from tests.conftest import labelled


def test_a_selection_is_read_kept_and_explained_where_it_cannot_be():
    def page():
        from crystalseg.ui import session, settings_controls
        from crystalseg.ui.choices import choices

        settings_controls.choose_measuring("here", choices().settings, session.current())

    app = AppTest.from_function(page, default_timeout=60).run()
    labelled(app.text_input, "Count only").set_value("nur runde über 30 px").run()
    assert not app.exception
    assert app.caption[0].value == "Counted: `circularity >= 0.92 and equivalent_diameter > 30 px`"
    labelled(app.text_input, "Count only").set_value("leave out twins").run()
    assert "“twins”" in app.error[0].value
    assert "Until then all crystals count." in app.error[0].value


def test_settings_keep_what_the_words_became():
    assert Measuring(only="nur runde über 30 px") == Measuring(
        only="circularity >= 0.92 and equivalent_diameter > 30 px"
    )
    with pytest.raises(SettingsError, match="twins"):
        Measuring(only="leave out twins")


def test_a_language_model_fills_the_field_or_says_why_not(monkeypatch):
    def page():
        from crystalseg.ui import session, settings_controls
        from crystalseg.ui.choices import choices

        settings_controls.choose_measuring("here", choices().settings, session.current())

    class Model:
        def __init__(self, path, pixels):
            assert (str(path), pixels.ndim) == ("/models/mine", 3)  # the example that is open
            self.path = path

        def __call__(self, task, examples, words):
            assert words == "no holes"
            return "not pore"

    monkeypatch.setattr("crystalseg.segmentation.language.LanguageModel", Model)
    app = AppTest.from_function(page, default_timeout=60).run()
    ask = "Ask the model for a filter"
    labelled(app.button, ask).click().run()
    assert "Say what to count" in app.error[0].value
    labelled(app.text_input, "Wish").set_value("no holes").run()
    labelled(app.text_input, "Folder of the model").set_value(" /models/mine ").run()
    assert not app.error
    labelled(app.button, ask).click().run()
    assert not app.exception
    assert labelled(app.text_input, "Count only").value == "not pore"
    assert app.caption[0].value == "Counted: `not pore`"
    monkeypatch.undo()
    labelled(app.button, ask).click().run()
    assert "holds no language model" in app.error[0].value
    assert labelled(app.text_input, "Count only").value == "not pore"
