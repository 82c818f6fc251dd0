import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from skimage.measure import regionprops, regionprops_table
from skimage.morphology import convex_hull_image

from crystalseg.measurement.crystals import LENGTHS, feret, feret_of_corners, measure_crystals, remeasured
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import discs

LABELS = draw(11, (500, 600), Structure("pebbles", diameter=60, coverage=0.6, irregularity=0.06)).labels


def test_columns_against_scikit_image():
    ours = measure_crystals(LABELS)
    names = (
        "area",
        "equivalent_diameter_area",
        "centroid",
        "bbox",
    )
    theirs = regionprops_table(LABELS, properties=names)
    np.testing.assert_array_equal(ours["area_px2"], theirs["area"])
    np.testing.assert_allclose(ours["equivalent_diameter_px"], theirs["equivalent_diameter_area"])
    np.testing.assert_allclose(ours["centroid_y_px"], theirs["centroid-0"])
    np.testing.assert_allclose(ours["centroid_x_px"], theirs["centroid-1"])
    np.testing.assert_array_equal(ours["height_px"], theirs["bbox-2"] - theirs["bbox-0"])
    np.testing.assert_array_equal(ours["width_px"], theirs["bbox-3"] - theirs["bbox-1"])


def test_feret_and_solidity_against_the_pixel_centres():
    # scikit-image's own feret_diameter_max and solidity take the hull of the pixels' edge midpoints and count every
    # pixel that it touches, so that a convex crystal has a solidity below 1; they differ by up to 1.8 px and 0.06
    for (_, row), region in zip(measure_crystals(LABELS).iterrows(), regionprops(LABELS), strict=True):
        centres = np.argwhere(region.image)
        in_hull = convex_hull_image(region.image, offset_coordinates=False).sum()
        assert row["solidity"] == pytest.approx(region.area / in_hull, abs=0.01)
        # pixels reach up to half a diagonal beyond their centres
        assert -0.25 <= row["feret_max_px"] - pdist(centres[ConvexHull(centres).vertices]).max() <= np.sqrt(2)


def drawn(shape, *polygon):
    labels = np.zeros(shape, np.int32)
    cv2.fillPoly(labels, [np.array(polygon)], 1)
    return labels


def test_a_rectangle_is_exact():
    labels = np.zeros((60, 90), np.int32)
    labels[10:30, 20:70] = 1  # 20 high, 50 wide
    row = measure_crystals(labels).iloc[0]
    assert row["area_px2"] == 1000
    assert row["feret_min_px"] == 20
    assert row["feret_max_px"] == pytest.approx(np.hypot(20, 50))
    assert (row["length_px"], row["width_px"], row["height_px"]) == (50, 50, 20)
    assert row["solidity"] == 1
    assert row["orientation_deg"] == pytest.approx(0, abs=1e-6)
    assert row["aspect_ratio"] == pytest.approx(20 / np.hypot(20, 50))
    assert (row["centroid_x_px"], row["centroid_y_px"]) == (44.5, 19.5)


def test_a_disc():
    row = measure_crystals(discs((260, 260), [(130, 130, 100)])).iloc[0]
    assert row["equivalent_diameter_px"] == pytest.approx(200, rel=0.005)
    assert row["feret_max_px"] == pytest.approx(200, abs=0.5)
    assert row["feret_min_px"] == pytest.approx(200, abs=0.5)
    assert np.isnan(row["orientation_deg"])
    assert row["perimeter_px"] == pytest.approx(200 * np.pi, rel=0.01)
    assert row["circularity"] == pytest.approx(1, abs=0.02)
    assert row["aspect_ratio"] > 0.98


@pytest.mark.parametrize(("angle", "expected"), [(0, 0), (30, 30), (90, 90), (150, 150)])
def test_orientation_is_counter_clockwise_from_the_horizontal(angle, expected):
    labels = np.zeros((200, 200), np.int32)
    cv2.ellipse(labels, (100, 100), (80, 20), -angle, 0, 360, 1, -1)  # OpenCV turns clockwise
    found = measure_crystals(labels).iloc[0]["orientation_deg"]
    assert min(abs(found - expected), 180 - abs(found - expected)) < 1


def test_concave_shape_has_low_solidity():
    # an L of three quarters of a square; its hull is the square less half of the missing quarter: 3/4 ÷ 7/8 = 6/7
    labels = np.zeros((120, 120), np.int32)
    labels[10:110, 10:60] = 1
    labels[60:110, 60:110] = 1
    assert measure_crystals(labels).iloc[0]["solidity"] == pytest.approx(6 / 7, abs=0.005)


def test_border_is_the_images_edge():
    labels = discs((60, 60), [(0, 30, 8), (30, 30, 8), (30, 59, 5)])
    assert measure_crystals(labels)["touches_border"].tolist() == [True, False, True]


def test_micrometres_follow_from_pixels():
    table = measure_crystals(LABELS, 0.5)
    np.testing.assert_allclose(table["area_um2"], table["area_px2"] / 4)
    for name in LENGTHS:
        np.testing.assert_allclose(table[f"{name}_um"], table[f"{name}_px"] / 2)


def test_confidence_belongs_to_its_crystal():
    labels = np.zeros((40, 40), np.int32)
    labels[2:12, 2:12], labels[20:30, 20:30] = 1, 3  # number 2 is missing
    assert measure_crystals(labels, None, np.array([0.1, 0.2, 0.3]))["confidence"].tolist() == [0.1, 0.3]
    assert "confidence" not in measure_crystals(labels)


def test_no_crystal_gives_an_empty_table():
    table = measure_crystals(np.zeros((40, 40), np.int32), 0.5)
    assert len(table) == 0
    assert "equivalent_diameter_um" in table


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_feret_against_brute_force_over_directions(seed, points):
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 50), np.uint8)
    cv2.fillPoly(mask, [np.column_stack((rng.integers(0, 50, points), rng.integers(0, 40, points)))], 1)
    y, x = np.nonzero(mask)
    corners = np.concatenate([np.column_stack((x + a, y + b)) for a in (0, 1) for b in (0, 1)])
    angles = np.radians(np.arange(0, 180, 0.05))
    widths = np.ptp(corners @ np.stack((np.cos(angles), np.sin(angles))), axis=0)
    largest, smallest, hull = feret_of_corners(mask > 0)
    assert largest == pytest.approx(widths.max(), abs=1e-3)
    assert smallest == pytest.approx(widths.min(), abs=0.05)
    assert hull >= mask.sum() - 1e-9
    # within what pixels' centres and corners leave open
    now, least, area = feret(mask > 0)
    assert largest - 2 <= now <= largest + 0.5
    assert smallest - 1.5 <= least <= smallest + 0.5
    assert least <= now
    assert 0 < area <= hull + 0.5 * largest


def placed(size, inside):
    """Masks of a shape at 30 places about the middle; inside(y, x): whether a point, from its centre, lies in it."""
    rng = np.random.default_rng(0)
    y, x = np.indices((size, size)) - size / 2
    return [inside(y + dy, x + dx) for dy, dx in rng.uniform(-0.5, 0.5, (30, 2))]


@pytest.mark.parametrize("diameter", [8, 10, 20, 50, 100])
def test_discs_are_right_in_the_mean(diameter):
    masks = placed(diameter + 8, lambda y, x: np.hypot(y, x) <= diameter / 2)
    rows = pd.concat([measure_crystals(mask.astype(int)) for mask in masks])
    assert rows["feret_max_px"].mean() == pytest.approx(diameter, abs=0.3)
    assert rows["perimeter_px"].mean() == pytest.approx(np.pi * diameter, rel=0.02 if diameter >= 10 else 0.03)
    assert rows["aspect_ratio"].mean() > 0.95
    assert rows["solidity"].mean() > 0.98
    assert rows["orientation_deg"].isna().mean() > 0.8


@pytest.mark.parametrize("angle", [0, 20, 45])
def test_rectangles_are_right_in_the_mean(angle):
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    masks = placed(70, lambda y, x: (abs(c * x + s * y) <= 20) & (abs(c * y - s * x) <= 10))
    rows = pd.concat([measure_crystals(mask.astype(int)) for mask in masks])
    assert rows["feret_max_px"].mean() == pytest.approx(np.hypot(40, 20), abs=0.7)
    assert rows["feret_min_px"].mean() == pytest.approx(20, abs=0.6)
    assert rows["perimeter_px"].mean() == pytest.approx(120, rel=0.015)
    assert rows["form_factor"].mean() == pytest.approx(4 * np.pi * 800 / 120**2, rel=0.03)
    np.testing.assert_allclose(rows["circularity"] ** 2, rows["form_factor"])


@pytest.mark.parametrize("side", [2, 5, 20, 60])
def test_an_axis_parallel_square_is_exact(side):
    labels = np.zeros((80, 80), int)
    labels[7 : 7 + side, 9 : 9 + side] = 1
    row = measure_crystals(labels).iloc[0]
    assert row["perimeter_px"] == pytest.approx(4 * side)
    assert row["feret_max_px"] == pytest.approx(np.sqrt(2) * side)
    assert row["feret_min_px"] == pytest.approx(side)
    assert row["solidity"] == pytest.approx(1)


def test_the_first_convention_is_as_it_was():
    then = measure_crystals(LABELS, convention=1)
    theirs = regionprops_table(LABELS, properties=("perimeter_crofton",))
    np.testing.assert_allclose(then["perimeter_px"], theirs["perimeter_crofton"])
    square = np.zeros((30, 30), int)
    square[5:15, 5:15] = 1
    assert measure_crystals(square, convention=1)["feret_max_px"][0] == pytest.approx(np.hypot(10, 10))


def test_remeasured_is_measured_anew_where_labels_changed_and_kept_elsewhere():
    before = discs((80, 160), [(40, 30, 20), (40, 80, 15), (40, 130, 18)])
    confidence = np.array([0.5, 0.6, 0.7, 1.0], np.float32)
    table = measure_crystals(before, 0.25, confidence)
    after = np.where(before == 2, 0, before)
    after[(before == 3) & (np.arange(160) > 130)] = 4
    quick = remeasured(table, {2, 3, 4}, after, 0.25, confidence, {1: "pore"})
    whole = measure_crystals(after, 0.25, confidence, {1: "pore"})
    pd.testing.assert_frame_equal(quick.drop(columns="kind"), whole.drop(columns="kind"))
    # a mark is a change as well: crystal 1 was not among them
    assert quick["kind"].tolist() == ["crystal"] * 3
    marked = remeasured(table, {1, 2, 3, 4}, after, 0.25, confidence, {1: "pore"})
    pd.testing.assert_frame_equal(marked, whole)
    assert remeasured(table, {1, 2, 3}, np.zeros_like(before), 0.25, confidence, {}).empty
