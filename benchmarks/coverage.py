"""How often the uncertainty of a figure holds the true one, and how often a limit that is just broken passes: drawn
fields of structures whose truth is known from all of them.

    python -m benchmarks.coverage [--pool 300] [--samples 200] [--seed 0] [--structures "planar Voronoi" …]

Held: of samples of 1, 2, 3, 5 and 10 fields of about 115 crystals, the share whose value is within U of the true one,
with nothing unknown of segmentation and pixel size; of the largest size, of the mean of what such samples have.
False passes: of samples of one field, those that would pass an upper or a lower limit that the true value just breaks.
At last, of 2 to 60 log-normal crystals, independent of each other.
"""

import argparse
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.drawn_fields import STRUCTURES, drawn, sized
from crystalseg.evaluation.tables import markdown
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import DEFINITIONS, Figure, figures
from crystalseg.measurement.uncertainty import Validation, budget

FIELDS = (1, 2, 3, 5, 10)
FEW = (2, 5, 8, 20, 60)
WIDTH = 0.5  # standard deviation of the logarithm of a diameter, of the few
ABOVE = 0.95  # of the crystals by number are no larger than the x of the share above x
EXACT = Validation("drawn", "none", 3, dict.fromkeys(DEFINITIONS, (0.0, 0.0, 0.0)))


def expanded(figure: Figure) -> float:
    """U of a figure with nothing unknown but chance; NaN if that is not known either."""
    found = budget(figure, 0.0, EXACT)
    return found.expanded if found.complete else float("nan")


def pool_of(structure: str, count: int, seed: int) -> tuple[list[Field], float]:
    """So many fields of a structure, and an x with ABOVE of their crystals below."""
    rng = np.random.default_rng((seed, list(STRUCTURES).index(structure)))
    pool = [drawn(structure, rng) for _ in range(count)]
    for field in pool:
        field.let_go()
    sizes = np.concatenate([field.crystals["equivalent_diameter_um"] for field in pool])
    return pool, float(np.quantile(sizes, ABOVE))


def samples_of(pool: Sequence[Field], above: float, fields: int, count: int, seed: int) -> list[dict[str, Figure]]:
    """Figures of samples of so many fields: each field once if it is one, else `count` draws."""
    rng = np.random.default_rng((seed, fields))
    picks = range(len(pool)) if fields == 1 else range(count)
    chosen = [[k] if fields == 1 else rng.choice(len(pool), fields, replace=False) for k in picks]
    return [figures([pool[k] for k in of], "exclude", above, 0.0) for of in chosen]


def misses(samples: Sequence[Mapping[str, Figure]], true: Mapping[str, float]) -> pd.DataFrame:
    """By figure, %: too low (the true value is above value + U), too high, and how many samples have no U."""
    rows = {}
    for key, truth in true.items():
        of = [(sample[key].value, expanded(sample[key])) for sample in samples if key in sample]
        value, reach = np.array(of).T
        close = 1e-9 * abs(truth)
        low, high = value + reach < truth - close, value - reach > truth + close
        rows[key] = [100 * low.mean(), 100 * high.mean(), 100 * np.isnan(reach).mean()]
    return pd.DataFrame(rows, index=["low", "high", "unknown"]).T


def truth_of(samples: Sequence[Mapping[str, Figure]], everything: Mapping[str, Figure]) -> dict[str, float]:
    true = {key: figure.value for key, figure in everything.items()}
    return true | {"largest": float(np.mean([sample["largest"].value for sample in samples]))}


def table(structure: str, pool: int, samples: int, seed: int) -> pd.DataFrame:
    """Held, %, by figure and number of fields; false passes of one field."""
    fields, above = pool_of(structure, pool, seed)
    everything = figures(fields, "exclude", above, 0.0)
    columns = {}
    for count in FIELDS:
        drawn_samples = samples_of(fields, above, count, samples, seed)
        off = misses(drawn_samples, truth_of(drawn_samples, everything))
        columns[str(count)] = 100 - off["low"] - off["high"]
        if count == 1:
            passes = off[["low", "high"]].set_axis(["upper limit", "lower limit"], axis=1)
    return pd.concat([pd.DataFrame(columns), passes], axis=1)


def of_few(samples: int, seed: int) -> pd.DataFrame:
    """Held, %, of so few independent log-normal crystals, and of how many samples U is not known."""
    rng = np.random.default_rng(seed)
    sizes = rng.lognormal(0, WIDTH, 2_000_000) * 12
    above = float(np.quantile(sizes, 0.9885))  # such crystals have 10 % of the area
    d10, d50, d90 = np.quantile(sizes, (0.1, 0.5, 0.9))
    true = {"mean": sizes.mean(), "d50": d50, "d90": d90, "span": (d90 - d10) / d50}
    true |= {"d32": (sizes**3).sum() / (sizes**2).sum(), "d43": (sizes**4).sum() / (sizes**3).sum()}
    true["area_above"] = (sizes[sizes > above] ** 2).sum() / (sizes**2).sum()
    columns = {}
    for count in FEW:
        drawings = rng.choice(sizes, (samples, count))
        found = [figures([sized(of, k)], "include", above, 0.0) for k, of in enumerate(drawings)]
        off = misses(found, true)
        columns[f"{count}"] = 100 - off["low"] - off["high"]
        columns[f"{count}, U not known"] = off["unknown"]
    return pd.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=300, help="fields drawn of each structure")
    parser.add_argument("--samples", type=int, default=200, help="of two fields or more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    options = parser.parse_args()
    for structure in options.structures:
        print(f"\n{structure}: held, %, by number of fields; false passes of one field, %\n", flush=True)
        found = table(structure, options.pool, options.samples, options.seed)
        print(markdown(found.round(1).reset_index(names="figure")), flush=True)
    print("\nfew log-normal crystals: held, %, and of how many samples U is not known, %\n")
    print(markdown(of_few(options.samples, options.seed).round(1).reset_index(names="figure")))


if __name__ == "__main__":
    main()
