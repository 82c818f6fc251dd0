import numpy as np
import pytest

from crystalseg.report.pictures import _length, draw_scale_bar


@pytest.mark.parametrize(
    ("um", "words"), [(0.2, "200 nm"), (1, "1 µm"), (20, "20 µm"), (500, "500 µm"), (2000, "2 mm"), (0.0005, "0.5 nm")]
)
def test_a_bar_is_named_in_a_unit_of_its_size(um, words):
    assert _length(um) == words


def test_a_bar_has_the_length_that_it_states():
    picture = np.full((400, 1000, 3), 128, np.uint8)
    drawn = draw_scale_bar(picture, 0.1)  # 100 µm wide: a bar of 20 µm is 200 px long
    row = drawn[400 - 30 - 3]
    assert np.count_nonzero((row == 0).all(axis=1)) == pytest.approx(200, abs=1)
    assert (picture == 128).all()
