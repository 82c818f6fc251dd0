"""A record of many runs: how long lists, searches, charts and audits take.

    python -m benchmarks.large_record [--runs 100000] [--crystals 0] [--home FOLDER] [--seed 0]

The record is written to a new FOLDER, or to one that goes away again: of each measurement a run, with a file of so many
crystals, of every third one more state with its report, of every tenth an approval. Pages are opened in the app without
a browser, each click twice.
"""

import argparse
import datetime
import hashlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from sqlalchemy import Engine, insert
from streamlit.testing.v1 import AppTest

from crystalseg.places import APP
from crystalseg.record import index, ledger, store
from crystalseg.record.audit import audit, audited
from crystalseg.record.crystals import crystals_file
from crystalseg.record.database import open_database
from crystalseg.record.ledger import EntryRow
from crystalseg.record.runs import Run
from crystalseg.segmentation.settings import Settings

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def crystals(count: int, size: float, rng: random.Random) -> dict[str, str]:
    """A run's file of crystals, by name."""
    if not count:
        return {}
    sizes = np.array([rng.lognormvariate(np.log(size), 0.4) for _ in range(count)])
    table = pd.DataFrame({"equivalent_diameter_um": sizes, "area_um2": np.pi / 4 * sizes**2, "kind": "crystal"})
    return {"crystals": store.put(crystals_file(table, (1000, 1000), "include"))}


def entries(runs: int, count: int, rng: random.Random) -> Iterator[tuple[str, str, str, dict]]:
    """Kind, subject, who and body of each."""
    blank = asdict(Run("", "", None, 0.5, "scale bar", json.loads(Settings().to_json()), {}, {}, {"folded": 1.0}, {}))
    report = store.put(b"a report")
    for k in range(runs):
        size = rng.lognormvariate(2, 0.2)
        facts = blank | {
            "id": f"{k:012x}",
            "job": f"{k:012x}",
            "image_name": f"line {k % 7}, field {k}.png",
            "details": {"sample": f"Batch {k // 20}", "operator": f"Person {k % 9}"},
            "profile": f"Product {k % 12}",
            "files": crystals(count, size, rng),
            "hashes": {name: hashlib.sha256(name.encode()).hexdigest() for name in ("folded", "folded-confidence")},
            "figures": {
                "unit": "µm",
                "counted": rng.randrange(50, 900),
                "average": {"value": size, "low": 0.9 * size, "high": 1.1 * size},
                "number": [0.5 * size, size, 1.8 * size],
                "area": [0.8 * size, 1.4 * size, 2.2 * size],
                "largest": 3 * size,
            },
        }
        yield "run", facts["id"], f"Person {k % 9}", facts
        if k % 3 == 0:
            again = f"{k:011x}r"
            body = {"form": "PDF", "runs": [again], "files": {"PDF report": report}}
            yield "report", again, f"Person {k % 9}", body
            yield "run", again, f"Person {k % 9}", facts | {"id": again}
        if k % 10 == 0:
            yield "approval", facts["id"], "M. Vogt", {"meaning": "approval"}


def write(engine: Engine, runs: int, count: int, seed: int) -> None:
    """Fill an empty record, its chain as `ledger.append` makes it."""
    rows, number, previous = [], 0, ledger.FIRST
    for kind, subject, who, body in entries(runs, count, random.Random(seed)):
        number += 1
        created = (START + datetime.timedelta(minutes=20 * number)).isoformat(timespec="microseconds")
        fields = (number, kind, subject, created, who, json.dumps(body, sort_keys=True), previous)
        previous = ledger.digest(*fields)
        rows.append(dict(zip((c.name for c in EntryRow.__table__.columns), (*fields, previous), strict=True)))
        if len(rows) == 5000:
            _insert(engine, rows)
            rows = []
    _insert(engine, rows)
    ledger.write_head(number, previous)


def _insert(engine: Engine, rows: list[dict]) -> None:
    if rows:
        with engine.begin() as connection:
            connection.execute(insert(EntryRow), rows)


TAKEN: dict[str, float] = {}  # s


def timed(what: str, do: Callable[[], object]) -> None:
    """Do it, and say how long it took."""
    start = time.perf_counter()
    do()
    TAKEN[what] = time.perf_counter() - start
    print(f"{what}: {TAKEN[what]:.2f} s", flush=True)


def pages() -> None:
    """Clicks on the pages that read the record, without a browser."""
    for name in ("history", "audit", "profiles", "batch"):
        app = AppTest.from_file(str(APP), default_timeout=600)
        app.session_state["entered"] = True
        app.switch_page(f"pages/{name}.py")
        for turn in ("first", "again"):
            timed(f"{name}, {turn}", app.run)
        if name == "history":
            timed("history, a search", app.text_input[0].set_value("batch 4711").run)
            timed("history, a search that finds nothing", app.text_input[0].set_value("nowhere").run)
            timed("history, a person", app.text_input[0].set_value("person 3").run)
            timed("history, a profile", app.multiselect[0].set_value(["Product 3"]).run)
            app.text_input[0].set_value("")
            app.multiselect[0].set_value([])
            if app.number_input:
                timed("history, page 9", app.number_input[0].set_value(9).run)
            toggle = next(t for t in app.toggle if t.label == "Crystals by month")
            timed("history, crystals by month", toggle.set_value(True).run)
            timed("history, crystals by month again", app.run)
        if name == "audit":
            timed("audit, a search", next(t for t in app.text_input if t.label == "Search").set_value("Person 5").run)
        assert not app.exception, app.exception


def measured(runs: int, count: int, seed: int, home: Path | None = None) -> tuple[dict[str, float], int]:
    """Seconds each took on a record of `runs` with `count` crystals each, and how many entries it has. home: where the
    record is, or will be."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["CRYSTALSEG_HOME"] = str(home or scratch)
        engine = open_database()
        if not ledger.end(engine)[0]:
            timed(f"{runs:,} runs written", lambda: write(engine, runs, count, seed))
        number = ledger.end(engine)[0]
        timed("the index made", lambda: index.catch_up(engine))
        timed(f"audit of {number:,} entries", lambda: print(*audit(engine)))
        timed("audit of what is new", lambda: print(*audit(engine, audited())))
        pages()
    return TAKEN, number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--crystals", type=int, default=0, help="of each run")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    taken, number = measured(options.runs, options.crystals, options.seed, options.home)
    print(f"{number / taken[f'audit of {number:,} entries']:,.0f} entries a second")


if __name__ == "__main__":
    main()
