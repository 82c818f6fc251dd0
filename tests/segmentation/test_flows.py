"""Truth against a plain implementation and Cellpose's; tracking against plain Euler integration."""

import numpy as np
import pytest
from cellpose import dynamics
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import ndimage

from crystalseg.evaluation.metrics import overlap
from crystalseg.micrographs.labels import tidy
from crystalseg.segmentation import flows
from crystalseg.segmentation.flows import flows_from_labels, labels_from_flows, track
from crystalseg.segmentation.proposals import FIT_EXTENT
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import discs


def plain_truth(labels):
    """Heat diffusion, written with nothing but numpy and scipy."""
    flow = np.zeros((2, *labels.shape))
    for index in np.unique(labels)[1:]:
        mask = labels == index
        y, x = np.nonzero(mask)
        nearest = np.argmin((y - np.median(y)) ** 2 + (x - np.median(x)) ** 2)
        heat = np.zeros(labels.shape)
        for _ in range(2 * (np.ptp(y) + 1 + np.ptp(x) + 1 + 2)):
            heat[y[nearest], x[nearest]] += 1
            heat = ndimage.convolve(heat, np.full((3, 3), 1 / 9), mode="constant") * mask
        heat = np.pad(np.log1p(heat), 1)
        gradient = np.stack((heat[2:, 1:-1] - heat[:-2, 1:-1], heat[1:-1, 2:] - heat[1:-1, :-2]))
        gradient /= np.linalg.norm(gradient, axis=0) + 1e-60
        flow[:, mask] = gradient[:, mask]
    return flow


def cosine(a, b, mask):
    return (a * b).sum(axis=0)[mask]


def test_truth_equals_the_plain_implementation():
    labels = discs((60, 70), [(15, 15, 10), (20, 40, 14), (59, 69, 20), (45, 20, 3)])
    labels[40:44, 2:9] = 9  # a gap in the numbering and a bar
    ours, plain = flows_from_labels(labels), plain_truth(labels)
    # At the centre of a symmetric crystal the gradient is zero but for rounding.
    centres = (np.abs(ours - plain).max(axis=0) > 1e-4) & (labels > 0)
    assert set(map(tuple, np.argwhere(centres))) <= {(15, 15), (20, 40), (45, 20)}
    np.testing.assert_allclose(ours[:, ~centres], plain[:, ~centres], atol=1e-4)


def test_truth_agrees_with_cellpose():
    """Cellpose 3 starts from the mean instead of the median and takes no logarithm: nearly the same directions."""
    labels = discs((120, 120), [(30, 30, 22), (80, 70, 30), (30, 90, 12)])
    alike = cosine(flows_from_labels(labels), dynamics.masks_to_flows(labels), labels > 0)
    assert np.median(alike) > 0.999
    assert alike.mean() > 0.98


@pytest.mark.parametrize("extent", [flows.EXACT_EXTENT, FIT_EXTENT])
def test_reduced_truth_of_large_crystals_stays_close_to_the_full_one(extent):
    labels = (draw(3, (420, 420), Structure("single")).labels > 0).astype(np.int32)
    reduced, full = flows_from_labels(labels, extent), flows_from_labels(labels, 10_000)
    angle = np.degrees(np.arccos(np.clip(cosine(reduced, full, labels > 0), -1, 1)))
    assert 0 < np.median(angle) < 2
    assert np.mean(angle > 15) < 0.02


def test_faint_heat_far_down_a_corridor_still_has_a_direction():
    """Along a winding crystal heat falls to 1e-50 of what is fed and below: float32 alone would have none there."""
    labels = np.zeros((47, 47), np.int32)
    for row in range(2, 46, 4):
        labels[row : row + 2, 2:45] = 1
        end = slice(43, 45) if row % 8 == 2 else slice(2, 4)
        labels[row : row + 4, end] = 1
    labels[45:] = 0
    plain = plain_truth(labels)
    sure = (labels > 0) & (np.linalg.norm(plain, axis=0) > 0.999)
    assert sure.sum() > 0.45 * (labels > 0).sum()
    assert cosine(flows_from_labels(labels), plain, sure).min() > 0.999


def test_flow_is_a_unit_vector_on_crystals_and_zero_elsewhere():
    labels = draw(5, (150, 150), Structure("polycrystal", diameter=30)).labels
    length = np.linalg.norm(flows_from_labels(labels), axis=0)
    assert (length[labels == 0] == 0).all()
    assert np.mean(np.abs(length[labels > 0] - 1) < 1e-4) > 0.99  # a centre has no direction


@njit
def _euler(flow, mask, steps):
    """Plain Euler integration with bilinear interpolation; stops early only where a path has long gone in circles."""
    h, w = mask.shape
    end = np.zeros((2, h, w))
    for i in range(h):
        for j in range(w):
            if not mask[i, j]:
                continue
            y, x = float(i), float(j)
            anchor_y, anchor_x, since = y, x, 0
            for _ in range(steps):
                y0, x0 = min(int(y), h - 2), min(int(x), w - 2)
                b, a = y - y0, x - x0
                for c in range(2):
                    f = flow[c]
                    v = (1 - b) * ((1 - a) * f[y0, x0] + a * f[y0, x0 + 1])
                    v += b * ((1 - a) * f[y0 + 1, x0] + a * f[y0 + 1, x0 + 1])
                    if c == 0:
                        dy = v
                    else:
                        dx = v
                y, x = min(max(y + dy, 0.0), h - 1.0), min(max(x + dx, 0.0), w - 1.0)
                since += 1
                if (y - anchor_y) ** 2 + (x - anchor_x) ** 2 > 9:
                    anchor_y, anchor_x, since = y, x, 0
                if since > 200:
                    break
            end[0, i, j], end[1, i, j] = y, x
    return end


def euler_labels(flow, mask, steps=20_000):
    """Ends of the paths, joined where they lie within three pixels, are one instance each."""
    end = _euler(flow.astype(np.float64), mask, steps)
    hits = np.zeros(mask.shape, bool)
    y, x = np.round(end[:, mask]).astype(int)
    hits[y, x] = True
    sinks = ndimage.label(ndimage.binary_dilation(hits, iterations=1), np.ones((3, 3)))[0]
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = sinks[y, x]
    return labels


def best_iou(truth, found):
    """For each true instance the highest IoU with any found one."""
    counts = overlap(truth, found)
    best = np.zeros(len(counts.truth))
    np.maximum.at(best, counts.shared.row, counts.iou)
    return best


def assert_recovers_what_euler_does(labels):
    flow = flows_from_labels(labels)
    euler = best_iou(labels, euler_labels(flow, labels > 0)) > 0.5
    ours = best_iou(labels, tidy(track(flow, labels > 0)))
    assert (ours[euler] > 0.5).all()
    assert ours[ours > 0.5].mean() >= 0.995


@st.composite
def label_maps(draw_from):
    """Touching tessellations, concave and overlapping particles, grains cut by the border; 1 to 300 crystals."""
    kind = draw_from(st.sampled_from(["polycrystal", "grain", "cluster", "powder", "pebbles", "single"]))
    side = draw_from(st.integers(60, 420))
    structure = Structure(
        kind,
        diameter=draw_from(st.floats(max(16, side / 17), side)),
        spread=draw_from(st.floats(0.05, 0.8)),
        boundary=draw_from(st.sampled_from([0.0, 5.0])),
        waviness=draw_from(st.floats(0, 0.1)),
        irregularity=draw_from(st.floats(0, 0.1)),
    )
    labels = draw(draw_from(st.integers(0, 2**40)), (side, int(side * draw_from(st.floats(0.5, 1)))), structure).labels
    area = np.bincount(labels.ravel())
    return tidy(np.where(area[labels] >= 50, labels, 0))


@settings(max_examples=40)
@given(label_maps())
def test_tracking_recovers_every_instance_that_euler_recovers(labels):
    if labels.max():
        assert_recovers_what_euler_does(labels)


@pytest.mark.parametrize(
    "circles",
    [
        [(800, 800, 750)],
        [(600, 600, 560), (1300, 1300, 250), *[(1500, 40 + 9 * i, 4) for i in range(60)]],
    ],
    ids=["one of 1500 px", "1120 px beside 8 px"],
)
def test_tracking_recovers_huge_beside_tiny(circles):
    labels = discs((1600, 1600), circles)
    assert (best_iou(labels, tidy(track(flows_from_labels(labels), labels > 0))) > 0.995).all()


def test_touching_and_concave_crystals_by_hand():
    # a U around a bar, touching it on three sides
    labels = np.zeros((40, 40), np.int32)
    labels[5:35, 5:35] = 1
    labels[5:25, 15:25] = 2
    found = tidy(track(flows_from_labels(labels), labels > 0))
    assert found.max() == 2
    assert (best_iou(labels, found) > 0.97).all()


def test_no_foreground_gives_no_label():
    assert track(np.zeros((2, 8, 9), np.float32), np.zeros((8, 9), bool)).max() == 0


def test_zero_flow_and_noise_never_hang():
    rng = np.random.default_rng(0)
    mask = np.ones((50, 60), bool)
    assert (track(np.zeros((2, 50, 60), np.float32), mask) > 0).all()
    assert (track(rng.standard_normal((2, 50, 60)).astype(np.float32), mask) > 0).all()


def test_a_flow_over_the_edge_runs_along_it_into_the_corner():
    flow = np.empty((2, 6, 9), np.float32)
    flow[0], flow[1] = 0.3, -0.4  # only its direction counts: 0.6 px down and 0.8 px to the left a step
    mask = np.ones((6, 9), bool)
    assert (track(flow, mask) == 1).all()
    way = [(2, 3), (2.6, 2.2), (3.2, 1.4), (3.8, 0.6), (4.4, 0), (5, 0)]
    np.testing.assert_allclose(flows.path(flow, mask, 2, 3)[:6], way, atol=1e-6)


def test_threshold_and_smallest_area_apply():
    labels = discs((60, 60), [(20, 20, 12), (45, 45, 3)])
    foreground = np.where(labels > 0, 2.0, -2.0).astype(np.float32)
    flow = flows_from_labels(labels)
    assert labels_from_flows(flow, foreground, 0.0, 1).max() == 2
    assert labels_from_flows(flow, foreground, 0.0, 40).max() == 1
    assert labels_from_flows(flow, foreground, 2.5, 1).max() == 0


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 20))
def test_tidy_makes_single_pieces_without_holes(seed, crystals, min_area):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.repeat(rng.integers(0, crystals, (8, 9)), 3, axis=0), 3, axis=1).astype(np.int32)
    found = tidy(labels, min_area)
    numbers = np.unique(found[found > 0])
    assert (numbers == np.arange(1, len(numbers) + 1)).all()
    for number in numbers:
        mask = found == number
        assert ndimage.label(mask)[1] == 1
        assert mask.sum() >= min_area
        gained = ndimage.binary_fill_holes(mask) & ~mask
        assert (found[gained] > 0).all() or not gained.any() or _hole_shared(found, gained)
    assert (found[labels > 0] > 0).all() or min_area > 1


def _hole_shared(found, gained):
    """Background left inside a crystal must touch another crystal there (it is not enclosed by one alone)."""
    pieces, n = ndimage.label((found == 0) & gained)
    return all(len(np.unique(found[ndimage.binary_dilation(pieces == k)])) > 2 for k in range(1, n + 1))


def test_the_way_of_a_pixel_ends_where_its_crystals_ways_end():
    labels = discs((80, 150), [(40, 40, 30), (40, 105, 30)])
    flow, mask = flows_from_labels(labels), labels > 0
    ends = []
    for y, x in [(15, 40), (40, 12), (62, 55)]:
        way = flows.path(flow, mask, y, x)
        assert way[0].tolist() == [y, x]
        assert np.hypot(*np.diff(way, axis=0).T).max() <= 1.5  # no jumps
        inside = np.round(way).astype(int)
        assert (labels[inside[:, 0], inside[:, 1]] == 1).all()
        ends.append(way[-1])
    assert np.hypot(*(np.array(ends) - (40, 40)).T).max() < 4
    assert flows.path(flow, mask, 2, 2).shape == (0, 2)
