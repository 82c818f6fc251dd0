"""Layers and explanations of a hand-made result: 100 × 200 px, two scales, two crystals."""

import numpy as np
import pytest

from crystalseg.segmentation.colormap import categories
from crystalseg.segmentation.diagnostics import explain, layers, scale_weights, scale_words, tile_grid
from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings
from crystalseg.segmentation.tiling import TILE
from tests.conftest import discs

LABELS = discs((100, 200), [(50, 50, 40), (50, 150, 20)])


def scale(factor, covered=True):
    h, w = round(100 * factor), round(200 * factor)
    flow = np.zeros((2, h, w), np.float32)
    return ScalePrediction(factor, flow, np.zeros((h, w), np.float32), np.full((h, w), covered))


def result(method, **parts):
    fused = Prediction(np.full((2, 100, 200), 0.6, np.float32), np.full((100, 200), 2.0, np.float32))
    settings = Settings(method, Scales((0.5, 1.0), (100.0, 25.0)))
    half = np.zeros((3, 10, 20), np.float32)
    half[0, :, :10] = 0.75  # left: mostly the coarse scale
    half[1, :, :10] = 0.25
    half[1, :, 10:] = 1.0
    given = {"attention": half, "origin": None, "features": None} | parts
    return Segmentation(
        LABELS,
        np.array([0.9, 0.4], np.float32),
        fused,
        (scale(0.5), scale(1.0, False)),
        given["attention"],
        settings,
        {},
        {},
        {},
        given["origin"],
        given["features"],
    )


def test_every_scale_has_its_layers_and_each_has_a_picture():
    found = layers(result("sima"), None)
    names = [layer.name for layer in found]
    assert names[:3] == ["which scale won here", "fused flow", "fused foreground"]
    assert {"flow at × 0.5", "foreground at × 0.5", "flow at × 1", "foreground at × 1"} <= set(names)
    assert names[-1] == "attention for background"
    for layer in found:
        picture = layer.picture()
        assert picture.dtype == np.uint8
        assert picture.shape == (*layer.values.shape[-2:], 3)


def test_who_won_is_the_scale_of_most_weight_and_the_legend_has_its_colour():
    won = layers(result("sima"), None)[0]
    assert (won.values[:, :10] == 1).all()
    assert (won.values[:, 10:] == 2).all()
    assert [colour for colour, _ in won.legend] == [tuple(categories(np.array([[k]]))[0, 0]) for k in (1, 2)]


def test_a_result_without_scales_has_no_layers_and_one_without_attention_no_winner():
    assert layers(result("cellpose-multiscale", attention=None), None)[0].name == "fused flow"
    plain = result("watershed", attention=None)
    empty = Segmentation(plain.labels, plain.confidence, plain.fused, (), None, plain.settings, {}, {}, {})
    assert layers(empty, None) == []


def test_levels_are_said_in_px_and_in_um():
    # levels of 100 and 25 % of the longer side, 200 px
    assert scale_words(result("sima"), None) == ["× 0.5: 50 to 200 px", "× 1: 0 to 50 px"]
    assert scale_words(result("sima"), 0.5) == ["× 0.5: 25 to 100 µm", "× 1: 0 to 25 µm"]


def test_with_sima_plus_the_sizes_are_those_of_the_crystals_taken():
    words = scale_words(result("sima-plus", origin=np.array([0, 0]), features=np.zeros((2, 8), np.float32)), None)
    assert words[0].startswith("× 0.5: 40")
    assert words[0].endswith("2 crystals")
    assert words[1] == "× 1: no crystal"


def test_only_tiles_that_were_computed_are_in_the_grid():
    found = result("sima")
    assert tile_grid(found, 0) == [(0, 0, 100, 200)]  # smaller than a tile: one, of the image's size
    assert tile_grid(found, 1) == []
    assert TILE >= 200


def test_weights_of_a_crystal_are_the_mean_attention_over_it():
    found = result("sima")
    assert scale_weights(found, LABELS == 1) == pytest.approx([0.75, 0.25])
    assert scale_weights(found, LABELS == 2) == pytest.approx([0, 1])
    assert scale_weights(result("cellpose-multiscale", attention=None), LABELS == 1) == [0.5, 0.5]


def test_a_crystal_of_sima_is_explained_by_level_foreground_and_flow():
    rows = dict(explain(result("sima"), 1))
    assert rows["Confidence"] == "0.90"
    assert rows["Weight of each scale"] == "× 0.5: 75 %, × 1: 25 %"
    assert rows["Size level"] == "1 of 2: 50 to 200 px"
    assert rows["Mean foreground probability"] == "0.88"  # 1 / (1 + exp(-2))
    assert rows["Mean length of the flow"].startswith("0.85")  # 0.6 √2


def test_a_crystal_of_sima_plus_is_explained_by_what_it_was_judged_by():
    features = np.array([[0.0, 0.7, 0.1, 0.2, 0, 0, 0, 0], [0] * 8], np.float32)
    rows = dict(explain(result("sima-plus", origin=np.array([0, 1]), features=features), 1))
    assert rows["Taken from"] == "× 0.5, where it is 40 px wide"
    assert rows["Flow and foreground fit its shape"] == "0.50 of 1"
    assert rows["Best match at another scale"] == "IoU 0.70 of 1"
