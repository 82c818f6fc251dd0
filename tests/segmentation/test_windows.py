import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.cellpose import CPNet
from crystalseg.record.results import load_segmentation, save_segmentation
from crystalseg.segmentation import mosaic, sima_plus, windows
from crystalseg.segmentation.diagnostics import layers
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.progress import Cancelled, Clock
from crystalseg.segmentation.pyramid import Pyramid, scaled
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings, SettingsError
from crystalseg.segmentation.tiling import Grid, blend, blended_rows, tiles
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure


@pytest.fixture(scope="module")
def drawn():
    return draw(5, (228, 260), Structure("polycrystal", diameter=13, spread=0.4)).image


@pytest.fixture
def small_windows(monkeypatch):
    """Windows so small that an image of some hundred px has many; crystals in it are small as well."""
    for name, value in (("CORE", 180), ("REACH", 120), ("SEEN", 70), ("BUFFER", 190_000)):
        monkeypatch.setattr(windows, name, value)
    monkeypatch.setattr(mosaic, "REACH", 120)
    monkeypatch.setattr(mosaic, "CORE", 180)


def quiet(_):
    pass


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(instances=Instances(foreground_threshold=0.5, min_area=30)),
        Settings(effort="balanced"),
    ],
    ids=["usual", "own", "balanced"],
)
def test_windows_find_what_the_whole_does_to_the_last_bit(models, drawn, small_windows, settings):
    whole = sima_plus.run(Pyramid(models, drawn), settings, Clock(), quiet)
    parts = mosaic.run(Pyramid(models, drawn), settings, Clock(), quiet)
    assert whole.labels.max() > 150
    assert whole.factors[-1] == 2  # small crystals were enlarged
    assert parts.factors == whole.factors
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.confidence, whole.confidence)
    np.testing.assert_array_equal(parts.features, whole.features)
    np.testing.assert_array_equal(parts.origin, whole.origin)
    np.testing.assert_array_equal(parts.attention, whole.attention)
    # and a crystal lies across the corner of four windows
    row, column = (windows.cuts(2 * n, windows.CORE)[1][0] // 2 for n in drawn.shape[:2])
    corner = parts.labels[row - 12 : row + 12, column - 12 : column + 12]
    quarters = [set(np.unique(q)) for half in np.split(corner, 2) for q in np.split(half, 2, axis=1)]
    assert set.intersection(*quarters) - {0}


def test_an_interrupted_run_goes_on_with_the_same_result(models, drawn, small_windows):
    settings, kept, seen = Settings(scales=Scales((0.25, 0.5, 1.0))), mosaic.InMemory(), []
    whole = mosaic.run(Pyramid(models, drawn), settings, Clock(), quiet)

    def stop(progress):
        seen.append(progress.stage)
        if kept.bands(1) == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        mosaic.run(Pyramid(models, drawn), settings, Clock(), stop, kept=kept)
    before = len(seen)
    again = mosaic.run(Pyramid(models, drawn), settings, Clock(), lambda p: seen.append(p.stage), kept=kept)
    np.testing.assert_array_equal(again.labels, whole.labels)
    assert "scale 0.5" in seen[:before]
    assert "scale 0.5" not in seen[before:]


def test_a_mosaic_takes_other_thresholds_only_where_no_map_is_needed(
    models, drawn, small_windows, monkeypatch, tmp_path
):
    monkeypatch.setattr(mosaic, "WHOLE", 1000)
    settings = Settings(scales=Scales((0.25, 0.5)))
    found = segment(Micrograph(drawn, "drawn", ""), settings, models)
    assert found.scales == ()
    save_segmentation(tmp_path / "found.npz", found)
    again = load_segmentation(tmp_path / "found.npz")
    assert (again.factors, again.fused.flow.shape) == (found.factors, (2, *found.labels.shape))
    assert (again.labels == found.labels).all()
    (shown,) = layers(again, None)[:1]
    assert shown.name == "which scale won here"
    surer = rethreshold(found, drawn, Instances(min_confidence=0.8), models.judge(settings))
    assert surer.labels.max() == (found.confidence >= 0.8).sum()
    with pytest.raises(SettingsError, match="maps of a mosaic are not kept"):
        rethreshold(found, drawn, Instances(min_confidence=0.1), models.judge(settings))


def test_a_network_of_two_channels_still_sees_the_image_whole(random_models, drawn, monkeypatch):
    monkeypatch.setattr(mosaic, "WHOLE", 1000)
    models = replace(random_models, networks={**random_models.networks, "cellpose": CPNet(2).eval()})
    found = segment(Micrograph(drawn, "drawn", ""), Settings(scales=Scales((0.5,)), network="cellpose"), models)
    assert [scale.factor for scale in found.scales] == [0.5]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(scales=Scales((0.1, 2.0))), "above 1 are for images of up to"),
        (Settings(scales=Scales((0.9, 1.0))), "must be at most 0.85"),
        (Settings("watershed"), "only SiMA"),
    ],
)
def test_what_cannot_be_done_in_windows_is_said(models, drawn, small_windows, monkeypatch, settings, words):
    monkeypatch.setattr(mosaic, "WHOLE", 1000)
    monkeypatch.setattr(mosaic, "MOST", 1000)
    monkeypatch.setattr(mosaic, "CORE", -20)
    with pytest.raises(SettingsError, match=words):
        segment(Micrograph(drawn, "drawn", ""), settings, models)


@hypothesis_settings(max_examples=30)
@given(st.integers(1, 900), st.integers(1, 300), st.integers(0, 2**32))
def test_rows_come_in_order_and_blend_to_the_whole(height, width, seed):
    rng = np.random.default_rng(seed)
    grid = Grid(height, width)
    image = rng.random((2, height, width), np.float32)
    corners = [c for c in grid.corners if rng.random() < 0.7]
    results = (tile for stack in tiles(grid, image, corners, 3) for tile in stack)
    pieces = list(blended_rows(grid, corners, results))
    whole, covered = blend(grid, image, lambda stack: stack, corners)
    if not corners:
        assert pieces == []
        return
    assert (np.concatenate([seen for _, seen in pieces]) == covered).all()
    assert (np.concatenate([maps for maps, _ in pieces], axis=1) == whole).all()


@hypothesis_settings(max_examples=60)
@given(st.integers(1, 4000), st.integers(20, 300), st.integers(0, 2**32))
def test_bands_hold_the_rows_that_their_windows_read(height, core, seed):
    rng = np.random.default_rng(seed)
    column = np.arange(height, dtype=np.float32)[None, :, None]
    edges = np.unique(np.concatenate(([0, height], rng.integers(0, height + 1, 40))))
    rows = [(column[:, a:b], column[0, a:b] >= 0) for a, b in itertools.pairwise(edges) if b - a <= 224]
    if sum(len(seen) for _, seen in rows) < height:
        return  # pieces are no higher than a tile
    cores = windows.cuts(height, core)
    first = int(rng.integers(len(cores)))
    bands = [
        (band.core, band.top, band.maps[0, :, 0].copy(), len(band.covered))
        for band in windows.banded(rows, height, cores[first:])
    ]
    assert [core for core, *_ in bands] == cores[first:]
    for (top, bottom), start, values, count in bands:
        assert start <= max(0, top - windows.REACH)
        assert start + count >= min(height, bottom + windows.REACH)
        assert (values == start + np.arange(count)).all()


@given(st.integers(1, 30_000), st.integers(50, 3000))
def test_cores_are_a_partition(length, core):
    edges = windows.cuts(length, core)
    assert edges[0][0] == 0
    assert edges[-1][1] == length
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    assert all(high - low <= core + 2 * windows.REACH for low, high in edges)


@hypothesis_settings(max_examples=30)
@given(st.sampled_from([0.25, 0.4, 0.5, 1.0, 2.0]), st.integers(0, 2**32))
def test_parts_of_a_level_are_parts_of_the_resized_image(factor, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (61, 74, 3)).astype(np.uint8)
    level = Pyramid(None, pixels).level(factor)
    whole = scaled(pixels, level.shape)
    (top, bottom), (left, right) = (np.sort(rng.choice(n + 1, 2, replace=False)) for n in level.shape)
    part = level.read(slice(int(top), int(bottom)), slice(int(left), int(right)))
    np.testing.assert_array_equal(part, whole[top:bottom, left:right])
