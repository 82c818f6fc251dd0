"""The crystals of runs as files of the record, and the combined crystals of many runs."""

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

# The columns that are read for many runs. Their names have no unit: a run without a pixel size has no µm.
_READ = pa.schema([("size", pa.float32()), ("area", pa.float32()), ("weight", pa.float32())])
_RUN = pa.field("run", pa.int32())  # the number of the run within a month's file
_FACTS = b"crystalseg"


def crystals_file(crystals: pd.DataFrame, shape: tuple[int, int], rule: str) -> bytes:
    """Return the crystals table (`measure_crystals`) of an image (H, W) as Parquet.

    Three float32 columns are added: `size` (equivalent diameter) in µm, `area` in µm², both in px without a pixel size,
    and `weight`, the counting weight by the border rule (0 if the crystal does not count).
    """
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
    """Return `summed_up` for the counted crystals of a month's runs, given the hashes of their files. Return None if no
    crystal counts. Raises OSError if a file is missing or not Parquet.

    One file per month, beside the record, holds the crystals and their figures, because opening thousands of small
    files takes minutes. It is derived from the files of the runs, and made again if it is missing.
    """
    path = store.home() / "months" / f"{month}.parquet"
    known, figures = _facts(_schema(path))
    if len(files) == len(known) and set(files) == known.keys():
        return figures
    # Take the facts from the table that was read: another process may have rewritten the file meanwhile.
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
    """Return the schema of a month's file, or an empty schema if the file is missing or not Parquet."""
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid):
        return pa.schema([])


def _facts(schema: pa.Schema) -> tuple[dict[str, int], dict[str, float] | None]:
    """Return two facts of a month's file: the number within it of each run's file, by hash, and the figures of all
    crystals."""
    facts = json.loads((schema.metadata or {}).get(_FACTS, '{"files": [], "figures": null}'))
    return {sha256: number for number, sha256 in enumerate(facts["files"])}, facts["figures"]


def _with(table: pa.Table, files: Sequence[str], missing: Sequence[str]) -> pa.Table:
    """Return a month's crystals with those of the `missing` files added. `files` lists everything that the result
    holds."""
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
    """Return the number, the mean, and D10, D50 and D90 by number and by area of counted crystals. The table has the
    columns size, area and weight. Return None if it is empty."""
    if not len(crystals):
        return None
    crystals = crystals.sort_by("size")  # sorted once, not for every percentile
    sizes, weights, areas = (crystals[name].to_numpy().astype(float) for name in ("size", "weight", "area"))
    figures: dict[str, float] = {"crystals": len(sizes), "mean": float(np.average(sizes, weights=weights))}
    for by, counts in (("number", weights), ("area", weights * areas)):
        figures |= dict(zip((f"{by}_d10", f"{by}_d50", f"{by}_d90"), percentiles(sizes, counts), strict=True))
    return figures
