import itertools

import numpy as np
from cellpose.transforms import _taper_mask, make_tiles, pad_image_ND
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.segmentation.tiling import TILE, Grid, blend, limits, normalise, taper


def test_taper_is_cellposes():
    for height, width in ((224, 224), (160, 144), (224, 96), (32, 48)):
        np.testing.assert_allclose(taper(height, width), _taper_mask(height, width), atol=1e-6)


@settings(max_examples=60)
@given(st.integers(8, 700), st.integers(8, 700))
def test_tiles_are_cellposes(height, width):
    """The same tiles that cellpose cuts from its padded image."""
    image = np.random.default_rng(0).random((2, height, width), np.float32)
    padded, rows, columns = pad_image_ND(image)
    theirs, ysub, xsub, _, _ = make_tiles(padded)
    grid = Grid(height, width)
    shift = np.array((rows[0], columns[0]))
    assert [tuple(c + shift) for c in np.array(grid.corners)] == [(y[0], x[0]) for y, x in zip(ysub, xsub, strict=True)]
    theirs = theirs.reshape(-1, *theirs.shape[2:])
    np.testing.assert_array_equal(np.stack([grid.cut(image, c) for c in grid.corners]), theirs)


@settings(max_examples=40)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 9), st.integers(0, 2**32))
def test_identity_network_gives_the_image_back(height, width, batch, seed):
    image = np.random.default_rng(seed).random((2, height, width), np.float32)
    result, covered = blend(Grid(height, width), image, lambda stack: stack, batch=batch)
    assert covered.all()
    np.testing.assert_allclose(result, image, atol=1e-5)


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([16, 32]))
def test_neighbouring_tiles_overlap_by_a_tenth_and_cover_the_image(height, width, multiple):
    grid = Grid(height, width, multiple=multiple)
    ys = sorted({y for y, _ in grid.corners})
    side = grid.sides[0]
    assert side % multiple == 0
    assert side <= TILE
    assert ys[0] <= -multiple // 2
    assert ys[-1] + side >= height + multiple // 2
    # Cellpose's count of tiles, ceil(1.2 · length / tile), gives about a tenth; rounding may take a pixel
    assert all(b - a <= 0.92 * TILE for a, b in itertools.pairwise(ys))


def test_only_chosen_tiles_are_computed():
    grid = Grid(300, 500)
    seen = []

    def network(stack):
        seen.append(len(stack))
        return stack

    result, covered = blend(grid, np.ones((1, 300, 500), np.float32), network, [grid.corners[0]], batch=4)
    assert seen == [1]
    assert covered[:210, :210].all()
    assert not covered[224:].any()
    assert (result[0][~covered] == 0).all()


def test_no_tile_at_all():
    result, covered = blend(Grid(50, 60), np.ones((3, 50, 60), np.float32), lambda s: s, [])
    assert result.shape[1:] == (50, 60)
    assert not covered.any()


def test_normalisation_puts_percentiles_at_zero_and_one():
    rng = np.random.default_rng(0)
    image = rng.integers(20, 220, (300, 200, 3)).astype(np.uint8)
    image[..., 2] //= 3
    scaled = normalise(image, *limits(image))
    assert scaled.shape == (3, 300, 200)
    for channel in scaled[:, ::2, ::2]:
        np.testing.assert_allclose(np.percentile(channel, (1, 99)), (0, 1), atol=1e-5)


def test_a_blank_image_stays_blank():
    image = np.full((40, 40, 3), 77, np.uint8)
    image[3, 3] = 78
    assert np.abs(normalise(image, *limits(image))).max() <= 0.25
