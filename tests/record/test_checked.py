import numpy as np
import pytest

from crystalseg.errors import UserError
from crystalseg.record.audit import audit
from crystalseg.record.checked import check, clear, mask, polygons
from crystalseg.record.database import open_database

SQUARE = [(2, 3), (2, 9), (7, 9), (7, 3)]


def test_areas_add_up_until_they_are_cleared():
    engine = open_database()
    check(engine, "job", SQUARE, "A. Kern")
    check(engine, "other", SQUARE)
    check(engine, "job", [(10, 10), (14, 10), (14, 14)])
    assert [list(polygon) for polygon in polygons(engine, "job")] == [SQUARE, [(10, 10), (14, 10), (14, 14)]]
    clear(engine, "job", "A. Kern")
    assert polygons(engine, "job") == []
    assert len(polygons(engine, "other")) == 1
    assert not list(audit(engine))


def test_a_line_is_no_area():
    with pytest.raises(UserError, match="Drag around an area"):
        check(open_database(), "job", SQUARE[:2])


def test_areas_that_overlap_are_one():
    drawn = mask([SQUARE, [(5, 5), (5, 12), (9, 12), (9, 5)]], (12, 16))
    expected = np.zeros((12, 16), bool)
    expected[2:8, 3:10] = True
    expected[5:10, 5:13] = True
    np.testing.assert_array_equal(drawn, expected)
    assert not mask([], (4, 4)).any()
