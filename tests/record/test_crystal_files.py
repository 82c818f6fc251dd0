import io
import uuid

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import summarise
from crystalseg.record import store
from crystalseg.record.crystals import crystals_file, of_month
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
    figures = of_month("2026-11", [store.put(crystals_file(crystals, labels.shape, rule))])
    assert figures["crystals"] == summary.counted
    assert figures["mean"] == pytest.approx(summary.average.value, rel=1e-6)
    for by in ("number", "area"):
        assert [figures[f"{by}_d{k}"] for k in (10, 50, 90)] == pytest.approx(getattr(summary, by), rel=1e-6)


def test_many_runs_are_one_population():
    fields = [field(seed) for seed in range(5)]
    files = [store.put(crystals_file(crystals, labels.shape, "include")) for labels, crystals in fields]
    sizes = np.concatenate([crystals["equivalent_diameter_um"] for _, crystals in fields])
    figures = of_month("2026-11", files)
    assert figures["crystals"] == len(sizes)
    assert figures["mean"] == pytest.approx(sizes.mean(), rel=1e-6)
    assert figures["number_d50"] == pytest.approx(np.quantile(sizes, 0.5, method="inverted_cdf"), rel=1e-6)


def test_a_field_without_crystals_adds_none():
    _, crystals = field(2)
    empty = measure_crystals(np.zeros((50, 60), np.int32), 0.5)
    files = [store.put(crystals_file(table, (200, 240), "include")) for table in (crystals, empty)]
    assert of_month("2026-11", files)["crystals"] == len(crystals)
    assert of_month("2026-12", files[1:]) is None


def test_a_missing_file_is_an_os_error():
    with pytest.raises(FileNotFoundError, match="0000"):
        of_month("2026-11", ["0" * 64])


@pytest.fixture(scope="module")
def tables():
    return [field(seed)[1] for seed in range(6)]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=4))
def test_a_months_file_gives_what_the_runs_own_do_whatever_was_asked_before(tables, asked):
    """Also some of the runs, one twice (two runs of the same crystals), and runs that came since."""
    month = f"month {uuid.uuid4()}"
    for wanted in asked:
        figures = of_month(month, [store.put(crystals_file(tables[k], (200, 240), "include")) for k in wanted])
        sizes = np.concatenate([tables[k]["equivalent_diameter_um"] for k in wanted])
        areas = np.concatenate([tables[k]["area_um2"] for k in wanted])
        assert figures["crystals"] == len(sizes)
        assert figures["mean"] == pytest.approx(sizes.mean(), rel=1e-6)
        for k in (10, 50, 90):
            by_number = np.quantile(sizes, k / 100, method="inverted_cdf")
            by_area = np.quantile(sizes, k / 100, method="inverted_cdf", weights=areas)
            assert figures[f"number_d{k}"] == pytest.approx(by_number, rel=1e-6)
            assert figures[f"area_d{k}"] == pytest.approx(by_area, rel=1e-6)


@pytest.mark.parametrize("damage", [b"", b"no Parquet", None])
def test_a_months_file_that_is_damaged_or_gone_is_made_again(damage, tables):
    files = [store.put(crystals_file(table, (200, 240), "include")) for table in tables]
    before = of_month("2026-11", files)
    path = store.home() / "months" / "2026-11.parquet"
    path.unlink() if damage is None else path.write_bytes(damage)
    assert of_month("2026-11", files) == before
    assert path.stat().st_size > 1000
