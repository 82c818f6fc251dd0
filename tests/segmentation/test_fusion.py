import numpy as np
import pytest

from crystalseg.segmentation.fusion import NOTHING, ScalePrediction, fuse

SHAPE = (40, 60)


def constant(factor, dy, dx, logit, covered=True):
    h, w = round(SHAPE[0] * factor), round(SHAPE[1] * factor)
    flow = np.broadcast_to(np.array([dy, dx], np.float32)[:, None, None], (2, h, w)).copy()
    return ScalePrediction(factor, flow, np.full((h, w), logit, np.float32), np.full((h, w), covered))


def attention(*levels):
    return np.stack([np.full((10, 15), v, np.float32) for v in levels])


A, B = constant(0.5, 1, 0, 4), constant(1.0, 0, 0.5, -2)


def assert_constant(fused, dy, dx, logit):
    np.testing.assert_allclose(fused.flow[0], dy, atol=1e-6)
    np.testing.assert_allclose(fused.flow[1], dx, atol=1e-6)
    np.testing.assert_allclose(fused.foreground, logit, atol=1e-5)
    assert fused.foreground.shape == SHAPE


def test_average_of_constant_maps():
    assert_constant(fuse([A, B], None, SHAPE, "average"), 0.5, 0.25, 1)


def test_attention_weights_by_the_papers_formula():
    # (3·A + 1·B) / 4, whatever the background map says
    assert_constant(fuse([A, B], attention(0.6, 0.2, 0.99), SHAPE, "attention"), 0.75, 0.125, 2.5)


@pytest.mark.parametrize(("levels", "expected"), [((1, 0, 0), (1, 0, 4)), ((0, 1, 0), (0, 0.5, -2))])
def test_attention_that_selects_one_scale_gives_that_scale(levels, expected):
    assert_constant(fuse([A, B], attention(*levels), SHAPE, "attention"), *expected)


def test_maximum_takes_the_longest_flow_and_highest_foreground():
    assert_constant(fuse([B, A], None, SHAPE, "maximum"), 1, 0, 4)


@pytest.mark.parametrize("fusion", ["average", "maximum"])
def test_one_scale_at_full_size_is_unchanged(fusion):
    rng = np.random.default_rng(0)
    flow = rng.standard_normal((2, *SHAPE)).astype(np.float32)
    foreground = rng.standard_normal(SHAPE).astype(np.float32)
    one = ScalePrediction(1.0, flow, foreground, np.ones(SHAPE, bool))
    fused = fuse([one], None, SHAPE, fusion)
    np.testing.assert_allclose(fused.flow, flow, atol=1e-6)
    np.testing.assert_allclose(fused.foreground, foreground, atol=1e-6)


def test_attention_selects_by_region():
    maps = attention(0, 0, 0)
    maps[0, :, :7], maps[1, :, 8:] = 1, 1
    fused = fuse([A, B], maps, SHAPE, "attention")
    np.testing.assert_allclose(fused.foreground[:, :25], 4, atol=1e-5)
    np.testing.assert_allclose(fused.foreground[:, 36:], -2, atol=1e-5)


def test_what_was_not_computed_has_no_weight():
    hidden = constant(1.0, 0, 0.5, -2, covered=False)
    assert_constant(fuse([A, hidden], attention(0.5, 0.5, 0), SHAPE, "attention"), 1, 0, 4)
    assert_constant(fuse([hidden, hidden], attention(0.5, 0.5, 0), SHAPE, "attention"), 0, 0, NOTHING)


def test_attention_must_match_the_scales():
    with pytest.raises(TypeError, match="one map per scale"):
        fuse([A, B], attention(1, 0), SHAPE, "attention")
