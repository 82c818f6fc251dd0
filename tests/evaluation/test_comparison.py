"""Comparison tables against figures worked out by hand."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from crystalseg.evaluation.comparison import Compared, as_text, compare, differences, figures, scores
from crystalseg.measurement.crystals import measure_crystals
from tests.conftest import discs

TRUE = discs((100, 200), [(50, 50, 30), (50, 120, 20), (50, 170, 15)])
HALF = np.where((TRUE == 1) & (np.arange(200) > 50), 4, TRUE).astype(np.int32)


def compared(name, labels, seconds=1.5):
    return Compared(name, labels, measure_crystals(labels, 0.5, np.ones(labels.max())), seconds)


def test_size_figures_of_each_method():
    table = figures([compared("whole", TRUE), compared("halved", HALF)], "include")
    assert table["method"].tolist() == ["whole", "halved"]
    assert table["counted"].tolist() == [3, 4]
    assert table["KS distance"][0] == 0
    sizes = [measure_crystals(x, 0.5, np.ones(x.max()))["equivalent_diameter_um"] for x in (TRUE, HALF)]
    assert table["KS distance"][1] == pytest.approx(ks_2samp(*sizes).statistic)
    assert table["average, µm"][0] == pytest.approx(sizes[0].mean())
    assert table["time, s"].tolist() == [1.5, 1.5]


def test_a_method_that_finds_nothing_has_no_figures():
    nothing = compared("nothing", np.zeros_like(TRUE))
    table = figures([compared("whole", TRUE), nothing], "exclude")
    assert table["counted"][1] == 0
    assert table.iloc[1].isna().sum() == 5
    assert as_text(table)[2][1] == "–"


def test_differences_and_scores():
    both = [compared("whole", TRUE), compared("halved", HALF)]
    row = differences(both[0], both[1:]).iloc[0]
    assert (row["agree"], row["missed"]) == (2 + (row["split"] == 0), 0)
    quality = scores(TRUE, both)
    assert quality["PQ"][0] == 1
    assert quality["MRE ACS, %"][0] == 0
    assert quality["PQ"][1] < 1


def test_all_tables_and_their_text():
    tables = compare([compared("whole", TRUE), compared("halved", HALF, float("nan"))], "include", TRUE).tables
    assert list(tables) == ["Size figures of all crystals", "Crystals against whole", "Against the label image given"]
    rows = as_text(tables["Size figures of all crystals"])
    assert rows[0][0] == "method"
    assert rows[2][-1] == "–"
    assert "Against the label image given" not in compare([compared("whole", TRUE)], "include").tables
