import numpy as np
import pytest

from crystalseg.report.charts import distribution_chart, ticks
from crystalseg.report.pictures import draw_scale_bar


def test_scale_bar_has_the_length_written_on_it():
    picture = draw_scale_bar(np.full((800, 1000, 3), 128, np.uint8), 0.5)  # 500 µm wide: a bar of 100 µm = 200 px
    black = (picture == 0).all(axis=2)
    assert max(np.diff(np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))).max(initial=0) for row in black) == 201


@pytest.mark.parametrize(("low", "high"), [(3.0, 400.0), (10.0, 11.0), (0.002, 0.3)])
def test_ticks_are_round_and_inside(low, high):
    for logarithmic in (True, False):
        values = ticks(low, high, logarithmic)
        assert all(low <= t <= high * (1 + 1e-9) for t in values)
        assert values == sorted(values)


@pytest.mark.parametrize("sizes", [[5.0], [5.0, 5.0], list(range(1, 2000))])
def test_charts_of_one_and_of_many_crystals(sizes):
    sizes = np.array(sizes, float)
    distribution_chart(sizes, np.ones(len(sizes)), "t", "px", (400, 150), "Helvetica")
