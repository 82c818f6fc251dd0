import io
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from skimage.draw import polygon2mask

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.report.outlines import coco, geojson, imagej_rois, polygons
from tests.conftest import discs

LABELS = discs((90, 120), [(20, 25, 15), (60, 80, 25), (60, 80, 8), (5, 118, 6)])
TABLE = measure_crystals(LABELS, 0.5, np.linspace(0.5, 0.9, 4), {3: "pore"})


def area(ring):
    x, y = ring.T.astype(float)
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def drawn(shape, pieces):
    """The pixels whose centres lie inside the rings, plainly."""
    mask = np.zeros(shape, bool)
    for outer, *holes in pieces:
        inside = polygon2mask(shape, outer[:, ::-1] - 0.5)
        for hole in holes:
            inside &= ~polygon2mask(shape, hole[:, ::-1] - 0.5)
        mask |= inside
    return mask


def test_a_square_by_hand():
    labels = np.zeros((6, 8), int)
    labels[1:4, 2:7] = 1
    ((label, ((ring,),)),) = polygons(labels)
    assert label == 1
    assert {tuple(p) for p in ring} == {(2, 1), (7, 1), (7, 4), (2, 4)}
    assert len(ring) == 4


@settings(max_examples=60)
@given(arrays(np.int32, st.tuples(st.integers(2, 14), st.integers(2, 14)), elements=st.integers(0, 2)))
def test_rings_hold_exactly_the_labels_pixels(labels):
    for label, pieces in polygons(labels):
        assert (drawn(labels.shape, pieces) == (labels == label)).all()
        assert sum(area(r[0]) - sum(map(area, r[1:])) for r in pieces) == (labels == label).sum()


def test_imagej_opens_the_rois():
    with zipfile.ZipFile(io.BytesIO(imagej_rois(LABELS))) as archive:
        rois = [roifile.ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    assert [roi.name for roi in rois] == ["00001", "00002", "00003", "00004"]
    filled = [(LABELS == 1), (LABELS == 2) | (LABELS == 3), LABELS == 3, LABELS == 4]
    for roi, mask in zip(rois, filled, strict=True):
        assert area(roi.coordinates()) == mask.sum()


def test_geojson_has_shape_and_figures():
    made = json.loads(geojson(LABELS, TABLE))
    assert made["type"] == "FeatureCollection"
    second = made["features"][1]
    assert second["properties"]["equivalent_diameter_um"] == pytest.approx(TABLE["equivalent_diameter_um"][1])
    (rings,) = second["geometry"]["coordinates"]
    assert all(ring[0] == ring[-1] for ring in rings)
    assert len(rings) == 2  # the pore within it is a hole
    assert area(np.array(rings[0])) - area(np.array(rings[1])) == (LABELS == 2).sum()


def test_pycocotools_opens_the_masks(tmp_path):
    (tmp_path / "coco.json").write_bytes(coco(LABELS, TABLE, "a.png"))
    opened = COCO(tmp_path / "coco.json")
    assert opened.loadCats(opened.getCatIds())[1]["name"] == "pore"
    for number, one in enumerate(opened.loadAnns(opened.getAnnIds()), start=1):
        mask = opened.annToMask(one)
        assert (mask == (number == LABELS)).all()
        assert coco_mask.area(opened.annToRLE(one)) == one["area"]
        assert one["category_id"] == (2 if number == 3 else 1)
    assert opened.imgs[1]["width"] == 120


def test_no_crystal_is_an_empty_file():
    nothing = np.zeros((10, 10), int)
    empty = measure_crystals(nothing, None, np.zeros(0))
    assert json.loads(geojson(nothing, empty))["features"] == []
    assert json.loads(coco(nothing, empty, "a"))["annotations"] == []
    assert zipfile.ZipFile(io.BytesIO(imagej_rois(nothing))).namelist() == []
    assert isinstance(empty, pd.DataFrame)
