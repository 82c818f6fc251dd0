"""Crystals of runs as files of the record, and those of many runs together."""

import io
import json
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from crystalseg.measurement.distribution import border_weights, percentiles
from crystalseg.record import store

# What is read of many runs; a run without a pixel size has no µm.
_READ = pa.schema([("size", pa.float32()), ("area", pa.float32()), ("weight", pa.float32())])
_FACTS = b"crystalseg"


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


def of_month(month: str, files: Sequence[str]) -> dict[str, float] | None:
    """`summed_up` of the counted crystals of runs of a month, by the hashes of their files; None if nothing counts.
    OSError if one is missing or no Parquet.

    A month's crystals are gathered in one file beside the record, with their figures: thousands of small files take
    minutes to open. It is made of runs' own files, and made again if it is not there.
    """
    path = store.home() / "months" / f"{month}.parquet"
    known, figures = _gathered(path)
    if missing := [sha256 for sha256 in dict.fromkeys(files) if sha256 not in known]:
        known, figures = _gather(path, known, missing)
    if len(files) == len(known) and set(files) == known.keys():
        return figures
    times = np.bincount([known[sha256] for sha256 in files], minlength=len(known))
    table = pq.read_table(path)
    rows = np.repeat(np.arange(len(table)), times[table["run"].to_numpy()])
    return summed_up(table.take(rows))


def _gathered(path: Path) -> tuple[dict[str, int], dict[str, float] | None]:
    """Hashes of the files whose crystals are in a month's file, with their numbers in it, and the figures of all."""
    try:
        facts = json.loads(pq.read_schema(path).metadata[_FACTS])
    except (OSError, pa.ArrowInvalid, KeyError, TypeError):
        return {}, None
    return {sha256: number for number, sha256 in enumerate(facts["files"])}, facts["figures"]


def _gather(path: Path, known: dict[str, int], missing: Sequence[str]) -> tuple[dict[str, int], dict | None]:
    """The files `missing` added to a month's file: what `_gathered` then returns."""
    numbers = known | {sha256: number for number, sha256 in enumerate(missing, start=len(known))}
    places = [str(store.place(sha256)) for sha256 in missing]
    of_files = ds.dataset(places, schema=_READ, format="parquet")
    new = of_files.to_table([*_READ.names, "__filename"], filter=ds.field("weight") > 0)
    whence = new["__filename"].combine_chunks().dictionary_encode()
    own = np.array([numbers[PurePath(name).name] for name in whence.dictionary.to_pylist()], np.int32)
    table = new.select(_READ.names).append_column("run", pa.array(own[whence.indices.to_numpy()], pa.int32()))
    if known:
        table = pa.concat_tables([pq.read_table(path), table])
    figures = summed_up(table)
    facts = {_FACTS: json.dumps({"files": list(numbers), "figures": figures})}
    with store.written_safely(path) as file:
        pq.write_table(table.replace_schema_metadata(facts), file, compression="zstd")
    return numbers, figures


def summed_up(crystals: pa.Table) -> dict[str, float] | None:
    """Of counted crystals of many runs, by size, area and weight: their number, the mean, and D10, D50, D90 by number
    and by area; None if there are none."""
    if not len(crystals):
        return None
    crystals = crystals.sort_by("size")  # once, not for every percentile
    sizes, weights, areas = (crystals[name].to_numpy().astype(float) for name in ("size", "weight", "area"))
    figures: dict[str, float] = {"crystals": len(sizes), "mean": float(np.average(sizes, weights=weights))}
    for by, counts in (("number", weights), ("area", weights * areas)):
        figures |= dict(zip((f"{by}_d10", f"{by}_d50", f"{by}_d90"), percentiles(sizes, counts), strict=True))
    return figures
