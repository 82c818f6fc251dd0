"""Where the images of long work come from, by whatever page it is begun."""

import io

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from crystalseg.errors import UserError
from crystalseg.execution import work
from crystalseg.ui import new_work


class Upload(io.BytesIO):
    def __init__(self, name, data):
        super().__init__(data)
        self.name = name


@pytest.mark.parametrize(
    ("kind", "names", "place"),
    [
        ("batch", ["a.png"], "images"),
        ("batch", ["a.zip", "a.zip"], "images"),
        ("mosaic", ["m.tif"], "images/m.tif"),
        ("series", ["s.tif"], "images/s.tif"),
        ("series", ["a.png", "b.png"], "images"),
    ],
)
def test_uploads_lie_in_the_folder_of_the_work(kind, names, place):
    folder = work.new_folder(kind)
    source = new_work.given(kind, [Upload(name, b"bytes") for name in names], "", folder)
    assert source == folder / place
    assert len(list((folder / work.UPLOADS).iterdir())) == len(names)


@pytest.mark.parametrize("kind", ["batch", "mosaic", "series"])
def test_every_kind_passes_the_same_gate(kind, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    folder = work.new_folder(kind)
    assert new_work.given(kind, [], str(tmp_path / "out"), folder) == tmp_path / "out"
    with pytest.raises(UserError, match="There is no"):
        new_work.given(kind, [], str(tmp_path / "nothing"), folder)
    address = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: "0.0.0.0" if name == "server.address" else address(name))
    monkeypatch.setenv("CRYSTALSEG_FOLDERS", str(tmp_path / "in"))
    assert new_work.given(kind, [], str(tmp_path / "in"), folder) == tmp_path / "in"
    for path in (tmp_path / "out", tmp_path / "in" / ".." / "out", tmp_path / "nothing"):
        with pytest.raises(UserError, match="offers no such file"):
            new_work.given(kind, [], str(path), folder)


def begun_with_a_model(kind, folder, model):
    import streamlit as st

    from crystalseg.record.profiles import Profile
    from crystalseg.segmentation.settings import Settings
    from crystalseg.ui import new_work

    address = st.get_option
    st.get_option = lambda name: "0.0.0.0" if name == "server.address" else address(name)
    try:
        profile = Profile("models of others", settings=Settings(f"hub:{model}"))
        new_work.begin(kind, [], folder, profile, None, lambda *_: st.write("asked for"))
    finally:
        st.get_option = address


@pytest.mark.parametrize("kind", ["batch", "mosaic", "series"])
def test_so_does_the_model_of_a_profile_and_nothing_is_left_of_what_was_refused(kind, own_queue, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_FOLDERS", str(tmp_path / "in"))
    (tmp_path / "in").mkdir()
    given = (kind, str(tmp_path / "in"), str(tmp_path / "model"))
    page = AppTest.from_function(begun_with_a_model, default_timeout=60, args=given).run()
    assert not page.exception
    assert "offers no such file" in page.error[0].value
    assert not page.markdown
    assert work.never_begun() == []
