import io

import numpy as np
import pandas as pd
import pytest
import tifffile

from crystalseg.micrographs.headers import from_tiff
from crystalseg.micrographs.pairs import read_labels
from crystalseg.report.exports import csv, labels_tiff
from tests.report.report_cases import case


def test_no_cell_of_a_csv_is_a_formula():
    typed = ["=1+1", "+1", "-1", "@a", "\t=1", "a\nb", "plain"]
    table = pd.DataFrame({"text": typed, "number": -np.arange(7.0)})
    back = pd.read_csv(io.BytesIO(csv(table)), encoding="utf-8-sig", keep_default_na=False)
    assert list(back["text"]) == ["'=1+1", "'+1", "'-1", "'@a", " =1", "a b", "plain"]
    assert list(back["number"]) == list(table["number"])


def test_csv_comes_back_as_the_table():
    crystals = case()[2].crystals
    back = pd.read_csv(io.BytesIO(csv(crystals)), encoding="utf-8-sig")
    assert list(back.columns) == list(crystals.columns)
    np.testing.assert_allclose(back["area_um2"], crystals["area_um2"], rtol=1e-5)
    assert (back["touches_border"] == crystals["touches_border"]).all()


@pytest.mark.parametrize("count", [300, 70_000])
def test_labels_tiff_keeps_every_number_and_the_pixel_size(count, tmp_path):
    labels = np.zeros((300, 300), np.int32)
    labels.flat[:count] = np.arange(1, min(count, labels.size) + 1)
    data = labels_tiff(labels, 0.25)
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        np.testing.assert_array_equal(tif.asarray().astype(int), labels)
        assert from_tiff(tif, tif.pages[0], []).um_per_px == pytest.approx(0.25)
    if count < 2**16:
        (tmp_path / "l.tif").write_bytes(data)
        np.testing.assert_array_equal(read_labels(tmp_path / "l.tif"), labels)
