"""What was asked of speed and scale, as one table: `make bench`.

    python -m benchmarks [--seed 3] [--only tracking runs mosaics record] [--small]

Every ratio is of two programs run side by side in one process on this machine; each part has a process of its own.
--small: sizes for a first look, in minutes instead of an hour.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """What was measured, the figure in words, and what was asked of it, "" for nothing."""

    what: str
    figure: str
    asked: str = ""


def tracking(seed: int, small: bool) -> list[Row]:
    from benchmarks.flows import growth, table

    sides = (500, 1000) if small else (500, 1800, 4000)
    found = table(sides, seed)
    rows = [
        Row(f"tracking, {kind} field, {side} px, beside cellpose", f"{ratio:.0f} times as fast", asked)
        for kind, column in (("exact", "tracking_ratio"), ("predicted", "predicted_ratio"))
        for side, ratio in zip(found["side_px"], found[column], strict=True)
        for asked in ("≥ 300" if side == 1800 else "",)
    ]
    return [*rows, Row("tracking, growth with the area", f"power {growth(found, 'tracking'):.2f}", "≤ 1, linear")]


def runs(seed: int, small: bool) -> list[Row]:
    from benchmarks.methods import PACKAGE, compared, stages
    from crystalseg.segmentation import load_models

    models, rows = load_models(device="cpu"), []
    ours = "sima-plus@folded"
    for side in (600,) if small else (1800, 4000):
        found = compared(side, 1, models, (ours,), seed)
        rows.append(
            Row(
                f"SiMA+, {side} px, beside the package at one scale",
                f"{found.of_package[ours]:.2f} of its time; PQ {found.pq[ours]:.2f} and {found.pq[PACKAGE]:.2f}",
            )
        )
        parts = stages(side, models, seed + 1)
        beside = sum(seconds for name, seconds in parts.items() if "network" not in name) / sum(parts.values())
        rows.append(Row(f"SiMA+, {side} px, beside its networks", f"{100 * beside:.0f} % of the time", "≤ 25 %"))
    return rows


def mosaics(seed: int, small: bool) -> list[Row]:
    from benchmarks.mosaics import differing, measured

    least, most, equal = (1500, 2500, 2600) if small else (2000, 8000, 4000)
    first, last = measured(least, seed, 0), measured(most, seed, 0)
    flat = last["all_s_per_mp"] / first["all_s_per_mp"]
    count, pixels = differing(equal, seed)
    size = f"{last['megapixels']:.0f} megapixels"
    return [
        Row(f"mosaic of {size}, time a megapixel, beside one of {first['megapixels']:.0f}", f"{flat:.2f}", "≤ 1.2"),
        Row(f"mosaic of {size}, peak memory", f"{last['peak_gib']:.1f} GiB", "≤ 6 GB at 400"),
        Row(f"{equal} px in windows and whole, {count} crystals", f"{pixels} pixels differ", "0"),
    ]


def record(seed: int, small: bool) -> list[Row]:
    from benchmarks.large_record import measured

    taken, entries = measured(2_000 if small else 100_000, 0, seed)
    audited = f"audit of {entries:,} entries"
    clicks = {what: s for what, s in taken.items() if what.startswith(("history", "audit,", "profiles", "batch"))}
    slowest = max((what for what in clicks if not what.endswith("first")), key=clicks.__getitem__)
    return [
        Row(f"slowest click with {entries:,} entries on record ({slowest})", f"{clicks[slowest]:.2f} s", "≤ 1 s"),
        Row(audited, f"{entries / taken[audited]:,.0f} a second", "≥ 20,000"),
        Row("audit since the last one", f"{taken['audit of what is new']:.2f} s"),
    ]


PARTS: dict[str, Callable[[int, bool], list[Row]]] = {
    "tracking": tracking,
    "runs": runs,
    "mosaics": mosaics,
    "record": record,
}


def collected(part: str, options: Sequence[str]) -> list[Row]:
    """The rows of one part, from a process of its own; what it says meanwhile goes to stderr."""
    command = [sys.executable, "-m", "benchmarks", "--part", part, *options]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    *other, rows = said.strip().splitlines()
    print(*other, sep="\n", file=sys.stderr)
    return [Row(*row) for row in json.loads(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given.seed, given.small)))
        return
    options = ["--seed", str(given.seed), *(["--small"] if given.small else [])]
    print("| what | measured | asked |\n|---|---|---|", flush=True)
    for part in given.only:
        for row in collected(part, options):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
