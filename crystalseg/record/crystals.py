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
_RUN = pa.field("run", pa.int32())  # its number in a month's file
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
    known, figures = _facts(_schema(path))
    if len(files) == len(known) and set(files) == known.keys():
        return figures
    # what it holds is asked of what is read: others may have written it since
    table = pq.read_table(path) if known else _READ.append(_RUN).empty_table()
    known, _ = _facts(table.schema)
    if missing := [sha256 for sha256 in dict.fromkeys(files) if sha256 not in known]:
        table = _with(table, [*known, *missing], missing)
        with store.written_safely(path) as file:
            pq.write_table(table, file, compression="zstd")
        known, _ = _facts(table.schema)
    times = np.bincount([known[sha256] for sha256 in files], minlength=len(known))
    return summed_up(table.take(np.repeat(np.arange(len(table)), times[table["run"].to_numpy()])))


def _schema(path: Path) -> pa.Schema:
    """Of a month's file; one of nothing if it is not there, or none."""
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return pa.schema([])


def _facts(schema: pa.Schema) -> tuple[dict[str, int], dict[str, float] | None]:
    """Of a month's file: the hashes of the files whose crystals it holds, with their numbers in it, and the figures of
    all."""
    facts = json.loads((schema.metadata or {}).get(_FACTS, '{"files": [], "figures": null}'))
    return {sha256: number for number, sha256 in enumerate(facts["files"])}, facts["figures"]


def _with(table: pa.Table, files: Sequence[str], missing: Sequence[str]) -> pa.Table:
    """A month's crystals, and those of the files that were `missing`; `files`: all that it then holds."""
    number = {sha256: k for k, sha256 in enumerate(files)}
    read = ds.dataset([str(store.place(sha256)) for sha256 in missing], schema=_READ, format="parquet")
    new = read.to_table([*_READ.names, "__filename"], filter=ds.field("weight") > 0)
    whence = new["__filename"].combine_chunks().dictionary_encode()
    runs = np.array([number[PurePath(name).name] for name in whence.dictionary.to_pylist()], np.int32)
    new = new.select(_READ.names).append_column(_RUN, pa.array(runs[whence.indices.to_numpy()]))
    both = pa.concat_tables([table.replace_schema_metadata(None), new])
    facts = json.dumps({"files": files, "figures": summed_up(both)})
    return both.replace_schema_metadata({_FACTS: facts})


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
