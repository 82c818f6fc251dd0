from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.pairs import write_pair
from crystalseg.training import sources
from crystalseg.training.data import Mixture, endless_images
from crystalseg.training.sources import (
    SOURCES,
    NegativeFolder,
    Source,
    compact,
    described,
    name_of,
    proportions,
    read_source,
    shares,
    source_of,
)
from tests.training.training_cases import DRAWN


def test_a_source_is_known_by_its_folder_or_the_folder_it_is_a_part_of(tmp_path, monkeypatch):
    assert name_of(tmp_path / "powder" / "train") == name_of(tmp_path / "powder") == "powder"
    assert source_of(tmp_path / "polarised-polycrystal" / "val").labels == "open"
    assert source_of(tmp_path / "mine") == Source()
    (tmp_path / "ebsd").mkdir()
    monkeypatch.chdir(tmp_path / "ebsd")
    assert name_of(Path("train")) == name_of(Path(".")) == "ebsd"


def test_what_may_not_be_handed_on_is_not_said_to_be():
    assert not SOURCES["em-particles"].redistributable
    assert not SOURCES["fibres"].redistributable
    assert not Source().redistributable
    assert all(source.licence and source.origin for source in SOURCES.values())


def test_shares_by_hand():
    # square roots 10 and 30
    np.testing.assert_allclose(proportions([100, 900], [1, 1]), [0.25, 0.75])
    assert shares([]).size == 0


def test_a_source_that_is_asked_for_more_often_is_drawn_more_often(tmp_path, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "rare", Source(often=3.0))
    pair = [(DRAWN.image, DRAWN.labels)]
    np.testing.assert_allclose(
        shares([_folder(tmp_path / name / "train", pair) for name in ("rare", "b")]), [0.75, 0.25]
    )


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=12), st.data())
def test_more_crystals_are_drawn_more_often_but_never_by_as_much(counts, data):
    share = proportions(counts, [1.0] * len(counts))
    assert share.sum() == pytest.approx(1)
    i, j = (data.draw(st.integers(0, len(counts) - 1)) for _ in range(2))
    if counts[i] < counts[j]:
        assert 1 < share[j] / share[i] < counts[j] / counts[i]


def _cut(image, labels, parts):
    """An image cut into as many strips."""
    return list(zip(np.array_split(image, parts), np.array_split(labels, parts), strict=True))


def _folder(place, pairs):
    place.mkdir(parents=True)
    for k, pair in enumerate(pairs):
        write_pair(place, f"{k}", *map(np.ascontiguousarray, pair))
    return place


def test_into_how_many_images_a_source_is_cut_makes_no_difference(tmp_path):
    labels = np.zeros((240, 40), np.int32)
    for k in range(6):
        labels[40 * k + 4 : 40 * k + 16, 5:30] = k + 1
    image = np.random.default_rng(0).integers(0, 255, (240, 40, 3), np.uint8)
    few = _folder(tmp_path / "few", _cut(image, labels, 1))
    many = _folder(tmp_path / "many", _cut(image, labels, 6))
    mixture = Mixture([few, many], 0.0, 0, with_flow=False)
    np.testing.assert_allclose(mixture.shares, 0.5)
    rng = np.random.default_rng(0)
    heights = [mixture(rng).labels.shape[0] for _ in range(400)]
    assert 0.42 < heights.count(240) / 400 < 0.58


def test_the_judge_and_the_networks_draw_alike(tmp_path):
    labels = np.zeros((64, 64), np.int32)
    labels[8:16, 8:16] = 1
    many = np.arange(1, 101).reshape(10, 10).repeat(6, 0).repeat(6, 1).astype(np.int32)
    few = _folder(tmp_path / "few", [(np.zeros((64, 64, 3), np.uint8), labels)])
    more = _folder(tmp_path / "more", [(np.zeros((60, 60, 3), np.uint8), many)])
    drawn = endless_images([few, more], 0.0, (64, 96), (64, 64), 0)
    heights = [next(drawn)[1].shape[0] for _ in range(300)]
    assert heights.count(64) / 300 == pytest.approx(1 / 11, abs=0.05)


def test_only_a_checked_area_is_learnt_from(tmp_path):
    place = _folder(tmp_path / "mine" / "train", [(DRAWN.image, DRAWN.labels)])
    assert read_source(place)[0][2] is None
    import cv2

    checked = np.zeros(DRAWN.labels.shape, np.uint8)
    checked[:, :100] = 255
    cv2.imwrite(str(place / "0_checked.png"), checked)
    (_, _, right), mixture = read_source(place)[0], Mixture([place], 0.0, 0, with_flow=False)
    np.testing.assert_array_equal(right, checked > 0)
    s = mixture(np.random.default_rng(0))
    assert not s.ground[:, 100:].any()
    assert s.crystals[:, 1].max() < 130


def test_where_lines_are_open_a_label_like_two_crystals_is_not_learnt_from(tmp_path):
    labels = np.zeros((60, 120), np.int32)
    labels[10:50, 5:45] = 1  # a square
    labels[5:55, 60:65] = labels[50:55, 60:110] = 2  # an L, which fills little of its hull
    np.testing.assert_array_equal(compact(labels), labels != 2)
    pair = [(np.zeros((60, 120, 3), np.uint8), labels)]
    open_lines = _folder(tmp_path / "polarised-polycrystal" / "train", pair)
    closed = _folder(tmp_path / "steel" / "train", pair)
    first, second = (Mixture([f], 0.0, 0, with_flow=False).sets[0][0] for f in (open_lines, closed))
    assert (first.open_lines, second.open_lines) == (True, False)
    assert (len(first.crystals), len(second.crystals)) == (1, 2)


def test_a_weights_card_says_what_was_drawn_and_under_which_licence(tmp_path):
    place = _folder(tmp_path / "powder" / "train", [(DRAWN.image, DRAWN.labels)] * 2)
    other = _folder(tmp_path / "mine" / "train", [(DRAWN.image, DRAWN.labels)] * 2)
    words = described([place, other], 0.4)
    assert "powder/train (2 images, 30.0%, licence: MIT)" in words
    assert "mine/train (2 images, 30.0%, licence: not known)" in words
    assert words.endswith("synthetic (40%)")
    assert described([], 0.4) == "synthetic (100%)"


def test_negative_background_is_read_by_choice_and_counts_alike(tmp_path):
    import tifffile

    place = tmp_path / "mine"
    place.mkdir()
    tifffile.imwrite(place / "0.tif", DRAWN.image, photometric="rgb")
    tifffile.imwrite(place / "0_label.tif", np.where(DRAWN.labels > 0, DRAWN.labels, -1).astype(np.int32))
    with pytest.raises(MicrographError, match="--negative-background"):
        read_source(place)
    with pytest.raises(MicrographError, match="--negative-background"):
        shares([place])
    chosen = NegativeFolder(place)
    np.testing.assert_array_equal(read_source(chosen)[0][1] > 0, DRAWN.labels > 0)
    assert shares([chosen]).tolist() == [1]
    assert "mine (1 images, 100.0%" in described([chosen], 0.0)
    assert len(Mixture([chosen], 0.0, 0, with_flow=False).sets[0][0].crystals) > 3


def test_a_checked_area_of_another_size_is_refused(tmp_path):
    import cv2

    place = _folder(tmp_path / "mine", [(DRAWN.image, DRAWN.labels)])
    cv2.imwrite(str(place / "0_checked.png"), np.full((40, 40), 255, np.uint8))
    with pytest.raises(MicrographError, match=r"0_checked\.png: the checked area differs in size"):
        read_source(place)
