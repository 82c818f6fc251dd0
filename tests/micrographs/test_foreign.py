"""Files of microscopes that are not read are named, with the way to export them."""

import pytest

from crystalseg.execution.batch_source import Source
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.foreign import FOREIGN, HEAD, by_ending
from crystalseg.micrographs.micrograph import MicrographError
from tests.conftest import discs, png

MARKS = [(kind, place, mark) for kind in FOREIGN for place, mark in kind.marks]


@pytest.mark.parametrize(("kind", "place", "mark"), MARKS, ids=[f"{kind.name} {mark!r}" for kind, _, mark in MARKS])
def test_a_file_of_another_format_is_named_whatever_it_is_called(kind, place, mark):
    assert place + len(mark) <= HEAD
    for length in (HEAD, 5000):
        with pytest.raises(MicrographError) as error:
            read_micrograph((bytes(place) + mark).ljust(length, b"\1"), "sample.tif")
        assert str(error.value).startswith(f"sample.tif: {kind.name} files cannot be read; export it as TIFF")
        assert kind.program in str(error.value)


def test_a_damaged_file_is_named_by_its_ending():
    with pytest.raises(MicrographError, match="Zeiss CZI files cannot be read"):
        read_micrograph(b"nothing", "sample.CZI")
    assert by_ending("czi.png") is None
    with pytest.raises(MicrographError, match="not an image that this program reads"):
        read_micrograph(b"nothing", "sample.png")


def test_an_image_is_read_whatever_it_is_called():
    assert read_micrograph(png(discs((60, 80), [(30, 30, 20)]).astype("uint8")), "a.czi").shape == (60, 80)


def test_a_folder_says_which_of_its_files_are_not_read(tmp_path):
    for name in ("a.png", "b.czi", "in.nd2"):
        (tmp_path / name).write_bytes(b"x")
    source = Source(tmp_path)
    assert source.names == ("a.png",)
    assert source.notes == ("Left out because they cannot be read: 2 files (b.czi, in.nd2). Export them as TIFF.",)
