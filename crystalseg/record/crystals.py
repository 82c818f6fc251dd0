"""Crystals of runs as files of the record, and those of many runs together."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from crystalseg.measurement.distribution import border_weights, percentiles
from crystalseg.record import store

# What is read of many runs; a run without a pixel size has no µm.
_READ = pa.schema([("size", pa.float32()), ("area", pa.float32()), ("weight", pa.float32())])


def crystals_file(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> bytes:
    """The crystals table (`measure_crystals`) of an image (H, W) as Parquet; also, in float32, each crystal's `size`
    (equivalent diameter) and `area` in µm and µm², px where there is no pixel size, and its counting `weight` by the
    border rule, 0 if it does not count."""
    suffix = "um" if "equivalent_diameter_um" in crystals else "px"
    own = {
        "size": crystals[f"equivalent_diameter_{suffix}"],
        "area": crystals[f"area_{suffix}2"],
        "weight": border_weights(crystals, shape, rule),
    }
    table = crystals.assign(**{name: np.asarray(values, np.float32) for name, values in own.items()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), buffer, compression="zstd")
    return buffer.getvalue()


def counted(files: Sequence[str]) -> pd.DataFrame:
    """The counted crystals of runs, by the hashes of their files: size, area and weight, float32. OSError if one is
    missing or no Parquet."""
    places = [str(store.place(sha256)) for sha256 in files]
    read = ds.dataset(places, schema=_READ, format="parquet").to_table(filter=ds.field("weight") > 0)
    return read.to_pandas()


def summed_up(crystals: pd.DataFrame) -> dict[str, float]:
    """Of counted crystals of many runs: their number, the mean, and D10, D50, D90 by number and by area."""
    sizes, weights, areas = (crystals[name].to_numpy(float) for name in ("size", "weight", "area"))
    figures: dict[str, float] = {"crystals": len(sizes), "mean": float(np.average(sizes, weights=weights))}
    for by, counts in (("number", weights), ("area", weights * areas)):
        figures |= dict(zip((f"{by}_d10", f"{by}_d50", f"{by}_d90"), percentiles(sizes, counts), strict=True))
    return figures
