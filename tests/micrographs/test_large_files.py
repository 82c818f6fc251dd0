"""Mosaics as files: OME-Zarr, tiled and pyramidal TIFF, and what is wrong with some."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.micrographs import decoding
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.pyramids import PyramidFile
from crystalseg.report.exports import image_pyramid, labels_pyramid
from tests.conftest import png

rng = np.random.default_rng(1)
GRAY = rng.integers(0, 256, (300, 410)).astype(np.uint8)


def ome_zarr(path, levels, version=2, channels=1, unit="micrometer", um=0.5):
    """An OME-Zarr image (NGFF 0.4 with Zarr 2, 0.5 with Zarr 3) of gray levels (h, w)."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    datasets = []
    for k, level in enumerate(levels):
        shape = (1, channels, *level.shape)
        array = group.create_array(str(k), shape=shape, chunks=(1, 1, 128, 128), dtype=level.dtype)
        array[:] = np.broadcast_to(level, shape)
        scale = {"type": "scale", "scale": [1.0, 1.0, um * 2**k, um * 2**k]}
        datasets.append({"path": str(k), "coordinateTransformations": [scale]})
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": unit} for name in "yx"]
    images = [{"axes": axes, "datasets": datasets}]
    group.attrs["multiscales" if version == 2 else "ome"] = images if version == 2 else {"multiscales": images}
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_ome_zarr_is_read_at_its_finest(tmp_path, version):
    found = read_micrograph(ome_zarr(tmp_path / "a.zarr", [GRAY, GRAY[::2, ::2]], version))
    assert (found.pixels == GRAY[..., None]).all()
    assert found.um_per_px == 0.5
    assert found.calibration.source == "OME-Zarr metadata"
    assert found.notes == ()
    packed = shutil.make_archive(str(tmp_path / "b"), "zip", tmp_path / "a.zarr")
    assert (read_micrograph(packed).pixels == found.pixels).all()
    kept = Path(packed).rename(tmp_path / "as the record keeps it")
    assert (read_micrograph(kept).pixels == found.pixels).all()
    (tmp_path / "a.zarr" / "more").write_text("x")
    assert read_micrograph(tmp_path / "a.zarr").sha256 != found.sha256


def test_a_mosaic_is_known_by_its_header(tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALSEG_MAX_MEGAPIXELS", f"{GRAY.size / 1e6}")
    small, large = GRAY, np.vstack((GRAY, GRAY[:1]))
    for pixels, expected in ((small, False), (large, True)):
        tifffile.imwrite(tmp_path / "a.tif", pixels)
        (tmp_path / "a.png").write_bytes(png(pixels))
        folder = ome_zarr(tmp_path / f"{expected}.zarr", [pixels])
        packed = Path(shutil.make_archive(str(tmp_path / f"{expected}"), "zip", folder))
        for path in (tmp_path / "a.tif", tmp_path / "a.png", folder, packed):
            assert decoding.is_mosaic(path) is expected, path
        assert decoding.is_mosaic((tmp_path / "a.png").read_bytes()) is expected
    assert not decoding.is_mosaic(b"no image")
    assert not decoding.is_mosaic(tmp_path / "nothing.tif")


def test_ome_zarr_of_16_bits_is_stretched_like_a_tiff(tmp_path):
    deep = (GRAY.astype(np.uint16) * 200) + 77
    tifffile.imwrite(tmp_path / "a.tif", deep)
    ours = read_micrograph(ome_zarr(tmp_path / "a.zarr", [deep]))
    assert (ours.pixels == read_micrograph(tmp_path / "a.tif").pixels).all()
    assert ours.notes == ("uint16 intensities were scaled to 8 bit.",)


def test_three_channels_are_colours_and_of_more_the_first_is_used(tmp_path):
    assert read_micrograph(ome_zarr(tmp_path / "a.zarr", [GRAY], channels=3)).notes == ()
    (note,) = read_micrograph(ome_zarr(tmp_path / "b.zarr", [GRAY], channels=5)).notes
    assert note == "The image has 5 channels; the first was used."
    assert read_micrograph(ome_zarr(tmp_path / "c.zarr", [GRAY], unit="second")).calibration is None


def spoiled_zarr(path, how):
    ome_zarr(path, [GRAY, GRAY[::2, ::2].astype(np.uint16 if how == "types" else np.uint8)])
    if how == "chunk":
        next(p for p in (path / "0").rglob("*") if p.is_file() and not p.name.startswith(".")).unlink()
    if how == "none":
        zarr.open_group(path, mode="w", zarr_format=2)
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("chunk", "1 of its 12 chunks are missing"),
        ("types", r"different data types \(uint16 and uint8\)"),
        ("none", "not an OME-Zarr image"),
    ],
)
def test_what_is_wrong_with_an_ome_zarr_is_said(tmp_path, how, words):
    with pytest.raises(MicrographError, match=words):
        read_micrograph(spoiled_zarr(tmp_path / "a.zarr", how))


def test_a_zarr_too_large_is_refused_before_it_is_read(tmp_path):
    with pytest.raises(MicrographError, match="too large: 0 megapixels"):
        read_micrograph(ome_zarr(tmp_path / "a.zarr", [GRAY]), max_megapixels=0.1)


def pyramid(path, subifds=True):
    with tifffile.TiffWriter(path) as tif:
        tif.write(GRAY, tile=(128, 128), subifds=1 if subifds else 0)
        tif.write(GRAY[::2, ::2], tile=(128, 128), subfiletype=1)
    return path


def test_a_pyramid_is_one_image(tmp_path):
    for subifds in (True, False):
        found = read_micrograph(pyramid(tmp_path / "a.tif", subifds=subifds))
        assert (found.pixels == GRAY[..., None]).all()
        assert found.notes == ()


def test_missing_tiles_of_a_tiff_are_said(tmp_path):
    path = tmp_path / "b.tif"
    tifffile.imwrite(path, GRAY, tile=(128, 128), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tag = tif.pages[0].tags["TileByteCounts"]
        tag.overwrite([0 if k == 4 else n for k, n in enumerate(tag.value)])
    with pytest.raises(MicrographError, match="1 of its 12 tiles are missing"):
        read_micrograph(path)


def test_values_of_large_files_lie_on_the_disk_and_it_is_asked_first(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "LARGE", 1000)
    path = pyramid(tmp_path / "a.tif")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert (read_micrograph(path, scratch=scratch).pixels == GRAY[..., None]).all()
    assert not list(scratch.iterdir())
    monkeypatch.setattr(decoding.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(MicrographError, match="GiB on the disk"):
        read_micrograph(path, scratch=scratch)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([64, 500, 2500]))
def test_a_part_of_a_pyramid_is_that_part_at_some_level(tmp_path_factory, seed, longest):
    path = tmp_path_factory.getbasetemp() / "pyramid.ome.tif"
    labels = np.arange(2600 * 1400, dtype=np.int32).reshape(2600, 1400)
    if not path.exists():
        with path.open("wb") as file:
            labels_pyramid(file, labels, 0.25)
    file = PyramidFile(path)
    assert file.shapes == [(2600, 1400), (1300, 700), (650, 350)]
    draws = np.random.default_rng(seed)
    (top, bottom), (left, right) = (np.sort(draws.choice(n + 1, 2, replace=False)).tolist() for n in labels.shape)
    part, box = file.read((top, left, bottom, right), longest)
    assert box[0] <= top
    assert box[1] <= left
    step = max(1, round((box[2] - box[0]) / len(part)))
    assert step in (1, 2, 4)
    np.testing.assert_array_equal(part, labels[box[0] : box[2] : step, box[1] : box[3] : step][: len(part)])
    assert max(part.shape) <= max(longest, 650)


def test_pictures_of_mosaics_keep_their_pixel_size(tmp_path):
    colour = np.repeat(GRAY[..., None], 3, axis=2)
    with (tmp_path / "a.ome.tif").open("wb") as file:
        image_pyramid(file, colour, 0.25)
    found = read_micrograph(tmp_path / "a.ome.tif")
    assert found.um_per_px == 0.25
    assert np.abs(found.pixels.astype(int) - colour).mean() < 12  # JPEG, of noise
