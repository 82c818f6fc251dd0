import shutil
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crystalseg.execution.batch_source import Source
from crystalseg.execution.work_state import WorkError
from crystalseg.micrographs.names import file_stem
from tests.micrographs.test_large_files import ome_zarr


def archive(path, entries, kind=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", kind) as file:
        warnings.simplefilter("ignore")  # of names given twice
        for name, data in entries:
            file.writestr(name, data)
    return path


def test_a_folder_its_folders_and_the_zips_in_it(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "deep" / "b.TIF").write_bytes(b"b")
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_bytes(b"")
    archive(tmp_path / "set.zip", [("c.jpg", b"c"), ("more/d.bmp", b"d"), ("__MACOSX/c.jpg", b""), ("x/", b"")])
    source = Source(tmp_path)
    assert source.names == ("a.png", "deep/b.TIF", "set.zip/c.jpg", "set.zip/more/d.bmp")
    assert [source.read(name) for name in source.names] == [b"a", b"b", b"c", b"d"]


def test_entries_of_the_same_name_are_two_images(tmp_path):
    source = Source(archive(tmp_path / "x.zip", [("a.png", b"first"), ("b.png", b"b"), ("a.png", b"second")]))
    assert source.names == ("a.png", "a.png", "b.png")
    assert {source.read("a.png", 0), source.read("a.png", 1)} == {b"first", b"second"}
    with pytest.raises(WorkError, match="no longer there"):
        source.read("a.png", 2)


def test_texts_beside_an_image_are_found_in_folders_and_archives(tmp_path):
    """Under the names that microscopes give them; the rest is left alone."""
    for place in (tmp_path / "one", tmp_path / "two", tmp_path / "two" / "in"):
        place.mkdir()
    entries = [("in/a.tif", b"a"), ("in/a.txt", b"size"), ("in/MetaData/a.xml", b"<x/>"), ("a.txt", b"other")]
    archive(tmp_path / "one" / "x.zip", [*entries, ("in/a.hdr", bytes(5 * 2**20))])
    (tmp_path / "two" / "in" / "a.tif").write_bytes(b"a")
    (tmp_path / "two" / "in" / "a.txt").write_bytes(b"size")
    both = {"a.txt": b"size", "a.xml": b"<x/>"}
    assert Source(tmp_path / "one").beside("x.zip/in/a.tif") == both
    assert Source(tmp_path / "one" / "x.zip").beside("in/a.tif") == both
    assert Source(tmp_path / "two").beside("in/a.tif") == {"a.txt": b"size"}


def test_names_reach_no_file_outside(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (tmp_path / "in").mkdir()
    names = ["../secret.png", str(secret), "a/../../secret.png", "n" * 5000 + ".png"]
    source = Source(archive(tmp_path / "in" / "x.zip", [(name, b"mine") for name in names]))
    assert len(source.names) == len(names)
    assert {source.read(name) for name in source.names} == {b"mine"}


def patched(data, method=None, flags=None):
    """The ZIP file with another compression or other flags in both headers of its only entry."""
    data = bytearray(data)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.index(mark) + at
        old = struct.unpack_from("<HH", data, start)
        struct.pack_into("<HH", data, start, old[0] if flags is None else flags, old[1] if method is None else method)
    return bytes(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: patched(d, method=9), "cannot be unpacked"),  # Deflate64
        (lambda d: patched(d, method=77), "cannot be unpacked"),
        (lambda d: patched(d, flags=1), "encrypted"),
        (lambda d: d.replace(b"x" * 40, b"y" * 40), "cannot be unpacked"),  # another checksum
    ],
    ids=["Deflate64", "unknown", "encrypted", "changed"],
)
def test_an_entry_that_cannot_be_read_is_one_failure(tmp_path, change, words):
    path = archive(tmp_path / "x.zip", [("a.png", b"x" * 100)], zipfile.ZIP_STORED)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(WorkError, match=words) as caught:
        Source(path).read("a.png")
    assert "\n" not in str(caught.value)


def test_sizes_are_checked_before_anything_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("crystalseg.execution.batch_source.MAX_FILE", 10**6)
    bomb = archive(tmp_path / "x.zip", [("a.png", bytes(10**8))])
    assert bomb.stat().st_size < 200_000
    with pytest.raises(WorkError, match="too large: 95 MiB"):
        Source(bomb).read("a.png")
    # a directory that lies about the size: no more than that is unpacked
    data = bytearray(bomb.read_bytes())
    start = data.index(b"PK\1\2") + 24
    struct.pack_into("<I", data, start, 1000)
    bomb.write_bytes(bytes(data))
    with pytest.raises(WorkError, match="cannot be unpacked"):
        Source(bomb).read("a.png")


def test_a_damaged_zip_among_others_fails_alone(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK no directory")
    (tmp_path / "a.png").write_bytes(b"a")
    source = Source(tmp_path)
    assert source.names == ("a.png", "bad.zip")
    with pytest.raises(WorkError, match="not a ZIP file, or is damaged"):
        source.read("bad.zip")
    for empty in (b"", b"PK\5\6" + bytes(18)):
        (tmp_path / "alone.zip").write_bytes(empty)
        with pytest.raises(WorkError, match=r"neither a folder|holds no image"):
            Source(tmp_path / "alone.zip")


def test_a_hundred_thousand_entries(tmp_path):
    source = Source(archive(tmp_path / "x.zip", [(f"{k}.png", b"") for k in range(100_000)], zipfile.ZIP_STORED))
    assert len(source.names) == 100_000
    assert source.read("99999.png") == b""


def test_an_ome_zarr_folder_is_one_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    ome_zarr(tmp_path / "more" / "b.zarr", [np.zeros((40, 50), np.uint8)])
    source = Source(tmp_path)
    assert source.names == ("a.png", "more/b.zarr")
    assert source.read("more/b.zarr") == tmp_path / "more" / "b.zarr"
    packed = shutil.make_archive(str(tmp_path / "c"), "zip", tmp_path / "more" / "b.zarr")
    assert Source(tmp_path).read("c.zip") == Path(packed)


def test_names_come_in_their_natural_order(tmp_path):
    for k in (1, 2, 10, 11):
        (tmp_path / f"frame_{k}.png").write_bytes(b"a")
    assert Source(tmp_path).names == tuple(f"frame_{k}.png" for k in (1, 2, 10, 11))
    entries = [(f"f{k}.png", b"a") for k in (10, 9, 100)]
    assert Source(archive(tmp_path / "x.zip", entries)).names == ("f9.png", "f10.png", "f100.png")


def test_results_beside_their_image_are_no_images(tmp_path):
    images = ["x.tif", "x.png", "Y.tif", "sub/z.png", "z_labels.tif", "mask.png", "only_mask.png", "x_image.png"]
    results = [
        *("x_labels.tif", "x_2_labels.tif", "x_label.png", "y_masks.tif", "Y_cp_masks.png", "sub/z_labels.ome.tif"),
        *("sub/z_image.ome.tif", "x_checked.png", "Y_overlay.png"),
    ]
    for name in images + results:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"a")
    for source in (Source(tmp_path), Source(archive(tmp_path.parent / "x.zip", [(n, b"a") for n in images + results]))):
        assert set(source.names) == set(images)
        (note,) = source.notes
        assert f"{len(results)} files (" in note
        assert "Left out as results of images beside them" in note


def test_what_segment_wrote_is_not_measured_by_batch(tmp_path):
    """The names that the verb gives its files."""
    (tmp_path / "my field.tif").write_bytes(b"a")
    (tmp_path / f"{file_stem('my field.tif')}_labels.tif").write_bytes(b"a")
    assert Source(tmp_path).names == ("my field.tif",)
