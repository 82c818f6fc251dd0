import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.micrographs.names import LONGEST_STEM, file_names, file_stem, file_stems, visible


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a b.c.tif", "a b.c"),
        ("../../etc/passwd.png", "etc_passwd"),
        ("C:\\x?.png", "C__x"),
        ("line\nend\u202egnp.png", "line endgnp"),
        ("e\u0301.png", "\u00e9"),
        ("\ud800.png", "image"),
        (".png", "png"),
        ("...", "image"),
        ("晶体.png", "晶体"),
        ("晶" * 10_000 + ".png", "晶" * 33),
        ("no ending", "no ending"),
    ],
)
def test_a_file_is_called_as_its_image_where_file_systems_allow(name, stem):
    assert file_stem(name) == stem


@given(st.lists(st.text(max_size=150), max_size=12))
def test_no_file_overwrites_another_and_every_name_can_be_written(names):
    stems = file_stems([*names, "a_2.png", "a.png", "a.tif", "b/a.png"])
    assert len(set(stems)) == len(stems)
    for stem in stems:
        assert 0 < len(stem.encode()) <= LONGEST_STEM + 4
        assert not set(stem) & set("/\\\0\n")


def test_endings_keep_names_apart_and_numbers_the_rest():
    given = ["a.png", "a.tif", "a.PNG", "b/a.png", "a_2.png"]
    assert file_names(given) == ["a.png", "a.tif", "a_2.png", "b_a.png", "a_2_2.png"]


def test_a_hundred_thousand_files_of_one_name():
    assert len(set(file_stems(["a.png"] * 100_000))) == 100_000


@given(st.text(st.characters(codec=None, categories=None), max_size=60))
def test_what_is_visible_is_one_line_that_can_be_written(text):
    shown = visible(text)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


def test_marks_of_direction_and_nul_go_but_letters_stay():
    assert visible("a\x00b\u202egnp.exe\u2066 \u05d0\u05d1 \U0001f600") == "abgnp.exe \u05d0\u05d1 \U0001f600"
