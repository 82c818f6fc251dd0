import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from crystalseg.errors import UserError
from crystalseg.ui import shared
from crystalseg.ui.plain import in_chart, plain


def shown(markdown):
    """Kinds of what a CommonMark reader makes of a line beside plain text, and its text."""
    tokens = [t for block in MarkdownIt("commonmark").parse(markdown) for t in (block.children or [block])]
    kinds = {t.type for t in tokens} - {"paragraph_open", "paragraph_close", "text", "text_special"}
    return kinds, "".join(t.content for t in tokens if t.type in ("text", "text_special"))


@pytest.mark.parametrize(
    "name",
    [
        "![x](http://tracker.example/a.png)",
        "<img src=x onerror=alert(1)>",
        "# head",
        "1. one",
        "- item",
        "**bold** `code` ~~x~~ $x^2$ :red[x] :material/home:",
        "[a](b) <http://a.b> &amp; \\ | a",
        "> quote",
        "    code",
        "a  \nb",
    ],
)
def test_names_are_no_markdown(name):
    kinds, text = shown(plain(name))
    assert kinds == set()
    assert text == " ".join(name.split("\n")).strip()


def test_names_are_no_emoji():
    """Streamlit looks for these in what Markdown left as text."""
    assert shown(plain("a :smile: b :material/home: 12:30:15"))[1] == "a :\u2060smile: b :material/home: 12:30:15"


@given(st.text(max_size=40))
def test_nothing_a_user_types_is_markdown(text):
    assert shown(plain(text))[0] == set()


def test_charts_show_tags_as_text():
    assert in_chart('<a href="x">&') == '&lt;a href="x"&gt;&amp;'


@pytest.mark.parametrize("path", ["/etc/passwd", "/no/such/thing", "images/../../secret", "~root/x"])
def test_a_server_for_others_offers_no_path_and_never_says_what_is_there(path, tmp_path, monkeypatch):
    monkeypatch.setattr(shared.st, "get_option", lambda _: None)
    monkeypatch.setenv("CRYSTALSEG_FOLDERS", str(tmp_path / "images"))
    with pytest.raises(UserError, match="offers no such file or folder"):
        shared.server_path(path)
    assert shared.server_path(str(tmp_path / "images" / "set")) == tmp_path / "images" / "set"
    with pytest.raises(UserError, match="offers no such"):
        shared.server_path(str(tmp_path / "images" / ".." / "other"))
    assert shared.model("cyto3") == "cyto3"


def test_on_ones_own_machine_every_path_is_offered(monkeypatch):
    monkeypatch.setattr(shared.st, "get_option", lambda _: "localhost")
    assert str(shared.server_path("/etc/hosts")) == "/etc/hosts"
    monkeypatch.setattr(shared, "signs_in", lambda: True)  # behind a proxy on this machine
    with pytest.raises(UserError, match="offers no such"):
        shared.server_path("/etc/hosts")
