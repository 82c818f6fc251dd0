import numpy as np

from crystalseg.micrographs.pairs import read_pairs, write_pair
from tests.report.report_cases import DRAWN


def test_pairs_come_back(tmp_path):
    write_pair(tmp_path, "x", DRAWN.image, DRAWN.labels)
    ((micrograph, labels),) = read_pairs(tmp_path)
    np.testing.assert_array_equal(micrograph.pixels, DRAWN.image)
    np.testing.assert_array_equal(labels, DRAWN.labels)
