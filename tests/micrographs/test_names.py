import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.micrographs.names import LONGEST_STEM, file_names, file_stem, file_stems, natural, visible
from tests.test_rooms import PRODUCT


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


def test_numbers_in_names_are_numbers():
    names = ["a10.png", "a2.png", "A1.png", "a02.png", "b", "a", "1", "10", "9", "a2b10", "a2b9", "x" + "9" * 5000]
    assert sorted(names, key=natural) == [
        *("1", "9", "10", "a", "A1.png", "a02.png", "a2.png", "a2b9", "a2b10", "a10.png", "b"),
        "x" + "9" * 5000,
    ]


@given(st.lists(st.text(max_size=12)))
def test_the_natural_order_is_one_order(names):
    backward = names[::-1]
    assert sorted(names, key=natural) == sorted(backward, key=natural)


@given(st.text("ab_ ", max_size=4), st.integers(0, 10**30), st.integers(0, 10**30), st.text("ab.", max_size=4))
def test_names_alike_come_by_their_numbers(before, one, other, after):
    names = [f"{before}{n}{after}" for n in (one, other)]
    assert (natural(names[0]) < natural(names[1])) == (one < other)


# Identities on record, which must not change; and what is sorted by other things than names.
SORTED_OTHERWISE = (
    *("path.rglob('*') if p.is_file()", "path.glob('*.safetensors')"),
    *("st_mtime", "path.suffix"),
)


def test_whatever_sorts_names_of_files_does_it_in_the_natural_order():
    for path in PRODUCT:
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) in (
                "sorted",
                "sort",
            ):
                text = ast.unparse(call)
                if re.search(r"glob\(|iterdir|listdir|scandir|namelist", text) and not any(
                    words in text for words in SORTED_OTHERWISE
                ):
                    assert "natural" in text, f"{path}: {text}"
