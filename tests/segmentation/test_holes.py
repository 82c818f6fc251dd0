"""Hollow crystals: the area that an outline encloses, or the crystal's own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from crystalseg.measurement.diameter import diameters
from crystalseg.micrographs.labels import filled, hollowed, tidy
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.report.words import settings_rows
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.settings import Instances, Settings, SettingsError

y, x = np.mgrid[:200, :300]
RINGS = np.zeros((200, 300), bool)
for cx in (80, 220):
    away = np.hypot(y - 100, x - cx)
    RINGS |= (away <= 60) & (away > 40)
IMAGE = Micrograph(np.repeat((RINGS * 160 + 40).astype(np.uint8)[..., None], 3, 2), "rings", "0" * 64)
CHOICES = {holes: Settings("watershed", instances=Instances(holes=holes)) for holes in ("filled", "kept")}


def test_rings_have_the_area_that_is_chosen():
    labels = np.where(np.hypot(y - 100, x - 80) <= 60, 1, np.where(np.hypot(y - 100, x - 220) <= 60, 2, 0))
    own = hollowed(labels, RINGS, 15)
    np.testing.assert_array_equal(own > 0, RINGS)
    np.testing.assert_array_equal(filled(own), labels)
    np.testing.assert_allclose(diameters(labels), 120, atol=0.5)
    np.testing.assert_allclose(diameters(own), 2 * np.sqrt(60**2 - 40**2), atol=0.5)
    np.testing.assert_array_equal(hollowed(labels, RINGS, 10**6), labels)  # holes too small to count


def test_a_run_and_its_thresholds_obey_the_choice():
    solid = Micrograph(IMAGE.pixels.copy(), "disc", "0" * 64)
    disc = np.hypot(y - 100, x - 80) <= 60
    solid.pixels[:] = 40
    solid.pixels[disc & (np.hypot(y - 100, x - 80) > 20)] = 200
    runs = {holes: segment(solid, settings, None) for holes, settings in CHOICES.items()}
    kept, closed = ((runs[holes].labels > 0).sum() for holes in ("kept", "filled"))
    assert kept <= closed
    again = rethreshold(runs["kept"], solid.pixels, Instances(holes="filled"), None)
    np.testing.assert_array_equal(again.labels > 0, runs["filled"].labels > 0)
    back = rethreshold(again, solid.pixels, Instances(holes="kept"), None)
    np.testing.assert_array_equal(back.labels, runs["kept"].labels)


@given(arrays(np.int32, (9, 9), elements=st.integers(0, 3)), arrays(bool, (9, 9)))
def test_only_holes_go_and_come_back(labels, ground):
    labels = tidy(labels)
    own = hollowed(labels, ground, 1)
    assert ((own == labels) | (own == 0)).all()
    assert not ground[(own == 0) & (labels > 0)].any()
    np.testing.assert_array_equal(filled(own), labels)


def test_the_choice_is_said_and_a_wrong_one_refused():
    for holes, words in (("filled", "what a crystal's outline encloses"), ("kept", "of the crystal alone")):
        assert words in dict(settings_rows(CHOICES[holes], ""))["Holes in crystals"]
    assert Instances().words == "h 0, from 15 px², confidence from 0.25, flow error to 0.4"
    assert Instances(holes="kept").words.endswith(", holes kept")
    assert "holes" not in CHOICES["filled"].conditions.key
    assert '"holes":"kept"' in CHOICES["kept"].conditions.key.replace(" ", "")
    assert Settings.from_json(CHOICES["kept"].to_json()) == CHOICES["kept"]
    with pytest.raises(SettingsError, match="Holes must be one of filled, kept"):
        Instances(holes="some")
