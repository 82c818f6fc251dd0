import io

import numpy as np
import pandas as pd
import pytest

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import summarise
from crystalseg.record import store
from crystalseg.record.crystals import counted, crystals_file, summed_up
from tests.conftest import discs


def field(seed, um_per_px=0.5):
    """Labels of random discs, and their table."""
    rng = np.random.default_rng(seed)
    labels = discs((200, 240), [(*rng.uniform((0, 0), (200, 240)), rng.uniform(3, 25)) for _ in range(30)])
    return labels, measure_crystals(labels, um_per_px)


def test_the_file_is_the_table_and_what_counts():
    labels, crystals = field(0)
    table = pd.read_parquet(io.BytesIO(crystals_file(crystals, labels.shape, "exclude")))
    pd.testing.assert_frame_equal(table[crystals.columns], crystals, check_dtype=False)
    np.testing.assert_allclose(table["size"], crystals["equivalent_diameter_um"], rtol=1e-6)
    assert ((table["weight"] == 0) == crystals["touches_border"]).all()


@pytest.mark.parametrize("um_per_px", [0.5, None])
@pytest.mark.parametrize("rule", ["exclude", "include"])
def test_of_one_run_the_figures_are_those_of_its_summary(um_per_px, rule):
    labels, crystals = field(1, um_per_px)
    summary = summarise(crystals, labels.shape, rule)
    figures = summed_up(counted([store.put(crystals_file(crystals, labels.shape, rule))]))
    assert figures["crystals"] == summary.counted
    assert figures["mean"] == pytest.approx(summary.average.value, rel=1e-6)
    for by in ("number", "area"):
        assert [figures[f"{by}_d{k}"] for k in (10, 50, 90)] == pytest.approx(getattr(summary, by), rel=1e-6)


def test_many_runs_are_one_population():
    fields = [field(seed) for seed in range(5)]
    files = [store.put(crystals_file(crystals, labels.shape, "include")) for labels, crystals in fields]
    sizes = np.concatenate([crystals["equivalent_diameter_um"] for _, crystals in fields])
    figures = summed_up(counted(files))
    assert figures["crystals"] == len(sizes)
    assert figures["mean"] == pytest.approx(sizes.mean(), rel=1e-6)
    assert figures["number_d50"] == pytest.approx(np.quantile(sizes, 0.5, method="inverted_cdf"), rel=1e-6)


def test_a_field_without_crystals_adds_none():
    _, crystals = field(2)
    empty = measure_crystals(np.zeros((50, 60), np.int32), 0.5)
    files = [store.put(crystals_file(table, (200, 240), "include")) for table in (crystals, empty)]
    assert len(counted(files)) == len(crystals)


def test_a_missing_file_is_an_os_error():
    with pytest.raises(FileNotFoundError, match="0000"):
        counted(["0" * 64])
