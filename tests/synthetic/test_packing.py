import numpy as np

from crystalseg.synthetic.packing import laguerre, pack, smooth_noise


def test_tessellation_equals_the_definition():
    """Against the power distance to every seed at every pixel."""
    rng = np.random.default_rng(3)
    sites = np.column_stack((rng.uniform(0, 90, 40), rng.uniform(0, 110, 40), rng.uniform(2, 15, 40)))
    owner, gap = laguerre(sites, 90, 110, 12.0)
    y, x = np.mgrid[:90, :110]
    power = (y[..., None] - sites[:, 0]) ** 2 + (x[..., None] - sites[:, 1]) ** 2 - sites[:, 2] ** 2
    assert (owner == power.argmin(axis=2) + 1).all()
    win = power.argmin(axis=2)
    apart = np.hypot(sites[:, 0] - sites[win, 0][..., None], sites[:, 1] - sites[win, 1][..., None])
    with np.errstate(invalid="ignore", divide="ignore"):
        walls = (power - power.min(axis=2, keepdims=True)) / (2 * apart)
    np.testing.assert_allclose(gap, np.minimum(np.nanmin(walls, axis=2), 12), atol=1e-3)


def test_packed_discs_keep_their_distance():
    rng = np.random.default_rng(0)
    radii = np.sort(rng.uniform(3, 15, 200))[::-1]
    placed = pack(radii, rng.uniform(0, 200, (200, 12)), rng.uniform(0, 200, (200, 12)), 1.0)
    apart = np.hypot(*(placed[:, None, :2] - placed[None, :, :2]).transpose(2, 0, 1))
    reach = placed[:, None, 2] + placed[None, :, 2]
    np.fill_diagonal(apart, np.inf)
    assert (apart >= reach).all()
    assert len(placed) > 50


def test_noise_has_about_unit_variance_and_the_scale_asked_for():
    rng = np.random.default_rng(0)
    for scale in (1.0, 4.0, 16.0):
        noise = smooth_noise(rng, (400, 500), scale)
        assert noise.shape == (400, 500)
        assert 0.7 < noise.std() < 1.3
        near = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
        assert (near > 0.85) == (scale > 1)
