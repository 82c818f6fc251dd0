"""Label images as other programs write them."""

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from crystalseg.execution.decoder import Decoder
from crystalseg.micrographs.annotations import annotations_in, read_annotations
from crystalseg.micrographs.label_images import label_image, relabelled
from crystalseg.micrographs.labels import LabelsError, areas, keep_labels, means, renumbered, tidy
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.report.exports import labels_tiff
from tests.conftest import discs, png

LABELS = discs((60, 80), [(15, 15, 8), (15, 60, 8), (45, 40, 8)])
WIDE = LABELS.astype(np.int64)


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def pillow(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def palette():
    image = Image.fromarray(LABELS.astype(np.uint8)).convert("P")
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    return pillow(image)


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (tiff(np.where(LABELS, WIDE + 4_000_000_000, 0).astype(np.uint32)), None),
        (tiff(np.where(LABELS, WIDE * 70_000_000, 0).astype(np.uint32)), None),
        (tiff(np.where(LABELS, WIDE + 2**62, 0)), None),
        (tiff(LABELS.astype(np.float32), imagej=True), None),
        (tiff(np.where(LABELS, WIDE * 1000, 0).astype(np.float64)), None),
        (tiff(LABELS[None].astype(np.uint16), photometric="minisblack"), "3 dimensions"),
        (tiff(np.repeat(LABELS[..., None], 3, 2).astype(np.uint8), photometric="rgb"), "3 channels"),
        (
            tiff(np.stack([LABELS] * 3).astype(np.uint8), photometric="rgb", planarconfig="separate"),
            "3 channels",
        ),
        (png(np.repeat(LABELS[..., None], 3, 2).astype(np.uint8)), "3 channels"),
        (png(LABELS.astype(np.uint16) * 20_000), None),
        (palette(), "palette"),
        (png((LABELS > 0).astype(np.uint8) * 255), "mask of two values: each of its 3 connected pieces"),
        (png((LABELS > 0).astype(np.uint8)), "mask of two values"),
        (pillow(Image.fromarray(LABELS > 0)), "mask of two values"),
        (tiff(LABELS > 0, photometric="minisblack"), "mask of two values"),
        (tiff((LABELS > 0).astype(np.float32) * 255), "mask of two values"),
        (tiff(LABELS[::-1, ::-1].astype(np.uint8), extratags=[(274, "H", 1, 3, True)]), None),
        (labels_tiff(LABELS, 0.5), None),
        (labels_tiff(np.where(LABELS, LABELS + 70_000, 0)), None),  # as float32
    ],
)
def test_any_whole_numbers_are_the_same_crystals(data, note):
    found = label_image(data, "x_label")
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.labels.dtype == np.int32
    assert len(found.notes) == (note is not None)
    assert note is None or note in found.notes[0]


def test_numbers_of_a_hash_keep_each_crystal_apart():
    hashes = np.where(LABELS, WIDE * 2654435761 % 2**32, 0).astype(np.uint32)
    found = label_image(tiff(hashes), "x").labels
    assert found.max() == 3
    for n in (1, 2, 3):
        assert len(np.unique(found[n == LABELS])) == 1
    np.testing.assert_array_equal(found > 0, LABELS > 0)


def test_numbers_below_0_are_background_by_choice(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (*LABELS.shape, 3), np.uint8)
    for number, values in enumerate(
        (np.where(LABELS, LABELS, -1), np.where(LABELS, LABELS * 9, -(2**31)).astype(float))
    ):
        data = tiff(values)
        found = label_image(data, "x", negative=True)
        np.testing.assert_array_equal(found.labels, LABELS)
        assert found.notes == (f"x: {(LABELS == 0).sum()} px have numbers below 0; they were taken as background.",)
        decoder = Decoder()
        np.testing.assert_array_equal(decoder.read_labels(data, "x", negative=True).labels, LABELS)
        decoder.close()
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.png").write_bytes(png(image))
        (folder / "x_label.png").write_bytes(data)
        for read in (read_pairs, read_annotations):
            with pytest.raises(MicrographError, match="--negative-background"):
                read(folder)
        ((_, labels),) = read_pairs(folder, negative=True)
        np.testing.assert_array_equal(labels, LABELS)
        np.testing.assert_array_equal(read_annotations(folder, negative=True)[0].labels, LABELS)


def test_one_crystal_in_two_pieces_is_no_mask_by_any_other_number():
    two = np.where(LABELS == 3, 0, LABELS > 0) * 7
    found = label_image(png(two.astype(np.uint8)), "x")
    assert (found.labels.max(), found.notes) == (1, ())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            tiff(np.where(LABELS, LABELS, -1).astype(np.int16)),
            "below 0, such as -1; give the background 0 .* or choose “Numbers below 0",
        ),
        (tiff(-LABELS * 1_000_000), "below 0, such as -3000000"),
        (tiff(np.where(LABELS, LABELS, np.nan).astype(np.float32)), "whole numbers"),
        (tiff(LABELS + 0.5), "whole numbers"),
        (tiff(LABELS + 1j), "whole numbers"),
        (png(np.dstack([LABELS, 0 * LABELS, 0 * LABELS]).astype(np.uint8)), "it is in colour"),
        (tiff(np.stack([LABELS, LABELS]).astype(np.uint8), photometric="minisblack"), "it has 2 planes"),
        (b"", "empty"),
        (b"hello", "cannot be read as a label image"),
        (tiff(LABELS.astype(np.uint8))[:200], "cannot be read as a label image"),
    ],
)
def test_what_is_no_label_image_is_refused_in_a_sentence(data, words):
    with pytest.raises(MicrographError, match=words):
        label_image(data, "x")


def test_a_jpeg_keeps_no_numbers():
    buffer = io.BytesIO()
    Image.fromarray(LABELS.astype(np.uint8)).save(buffer, "JPEG")
    with pytest.raises(MicrographError, match="must be PNG or TIFF"):
        label_image(buffer.getvalue(), "x")


NUMBERS = st.one_of(
    st.sampled_from([np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64, bool])
).flatmap(lambda kind: arrays(kind, st.tuples(st.integers(1, 9), st.integers(1, 9))))


@given(NUMBERS)
def test_by_choice_only_numbers_that_are_not_whole_are_refused(values):
    try:
        labels, numbers = relabelled(values, negative=True)
    except MicrographError:
        assert not np.isfinite(values).all() or (values != np.rint(values)).any()
        return
    names, places = np.unique(values[values > 0], return_inverse=True)
    np.testing.assert_array_equal(labels[values > 0], places + 1)
    np.testing.assert_array_equal(labels > 0, values > 0)
    np.testing.assert_array_equal(numbers, names)


@given(NUMBERS)
def test_whatever_the_numbers_they_become_1_to_n_or_are_refused(values):
    try:
        labels, numbers = relabelled(values)
    except MicrographError:
        assert values.dtype.kind in "if"
        assert (values < 0).any() or not np.isfinite(values).all() or (values != np.rint(values)).any()
        return
    names, places = np.unique(values[values > 0], return_inverse=True)
    np.testing.assert_array_equal(labels[values > 0], places + 1)
    np.testing.assert_array_equal(labels > 0, values > 0)
    np.testing.assert_array_equal(numbers, names)


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans(), st.booleans())
def test_a_damaged_label_image_is_read_or_refused(place, value, cut, as_tiff):
    data = bytearray(tiff(LABELS, compression="zlib") if as_tiff else png(LABELS.astype(np.uint16)))
    place %= len(data)
    data[place] = value
    try:
        found = label_image(bytes(data[:place] if cut else data), "x").labels
    except MicrographError:
        return
    assert found.dtype == np.int32
    assert found.min(initial=0) >= 0


@given(arrays(np.int64, (4, 5), elements=st.integers(-(2**40), 2**40)))
def test_compiled_code_sees_no_number_that_was_not_checked(labels):
    """Also of callers who bring labels of their own."""
    for use in (areas, tidy, lambda x: means(x, np.ones(x.shape)), lambda x: keep_labels(x, np.ones(3, bool))):
        try:
            use(labels)
        except LabelsError as error:
            assert str(error).endswith(".")  # noqa: PT017


def test_labels_beyond_the_table_are_refused():
    with pytest.raises(LabelsError, match="run to 3, but only 2 are known"):
        renumbered(LABELS, np.array([1, 2]))
    with pytest.raises(LabelsError, match="numbered 0, 1, 2"):
        areas(np.array([[-1, 0]]))
    with pytest.raises(LabelsError, match="whole numbers"):
        areas(LABELS.astype(float))


def test_files_for_teaching_say_how_their_labels_were_read_and_are_decoded_elsewhere():
    image = np.random.default_rng(0).integers(0, 255, (*LABELS.shape, 3), np.uint8)
    files = {"x.png": png(image), "x_label.png": png((LABELS > 0).astype(np.uint8) * 255)}
    decoder = Decoder()
    try:
        for more in ({}, {"read": decoder.read, "read_label": decoder.read_labels}):
            (one,) = annotations_in(files, **more)
            assert one.crystals == 3
            assert "mask of two values" in one.micrograph.notes[-1]
        with pytest.raises(MicrographError, match="cannot be read as a label image"):
            decoder.read_labels(b"no image", "x")
    finally:
        decoder.close()
