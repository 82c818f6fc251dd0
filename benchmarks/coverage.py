"""How often the expanded uncertainty of a mean size holds the true one, and that of the largest size the mean of what
such samples have for their largest: drawn samples of few and of many fields.

    python -m benchmarks.coverage [--samples 300] [--crystals 200]

Crystals are log-normal; fields differ by as much as chance over their crystals makes them differ, times `between`. Of
segmentation and pixel size nothing is unknown. `spread alone`: 2·s/√n, what stood here before.
"""

import argparse

import numpy as np
import pandas as pd

from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import figures
from crystalseg.measurement.uncertainty import Validation, budget

WIDTH = 0.5  # standard deviation of the logarithm of a diameter
EXACT = Validation("drawn", "none", 3, dict.fromkeys(("mean", "largest"), (0.0, 0.0, 0.0)))
LABELS = np.ones((4, 4), np.int32)  # only the table of crystals counts here


def drawn(sizes: np.ndarray) -> Field:
    """A field with crystals of these diameters, px."""
    table = pd.DataFrame({"id": 1, "equivalent_diameter_px": sizes, "area_px2": sizes**2 * np.pi / 4})
    return Field(LABELS, table.assign(kind="crystal", touches_border=False, aspect_ratio=1.0), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--crystals", type=int, default=200, help="in a field")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    chance = np.sqrt(np.expm1(WIDTH**2) / options.crystals)  # of a field's mean, relative
    rows = []
    for fields in (1, 2, 3, 5, 8):
        for between in (0, 1, 3) if fields > 1 else (0,):
            held, largest = [], []
            for _ in range(options.samples):
                means = 30 * rng.lognormal(-((between * chance) ** 2) / 2, between * chance, fields)
                sizes = rng.lognormal(-(WIDTH**2) / 2, WIDTH, (fields, options.crystals)) * means[:, None]
                found = figures([drawn(of) for of in sizes], "include", resamples=100)
                mean = found["mean"]
                stated = budget(mean, None, EXACT, scaled=False)
                spread = 2 * np.std(mean.fields, ddof=1) / np.sqrt(fields) if fields > 1 else np.nan
                held.append((abs(mean.value - 30) <= stated.expanded, abs(mean.value - 30) <= spread, stated.coverage))
                stated = budget(found["largest"], None, EXACT, scaled=False)
                largest.append((stated.figure.value, stated.expanded))
            u, alone, k = np.mean(held, axis=0)
            values, expanded = np.transpose(largest)
            of_largest = (abs(values - values.mean()) <= expanded).mean()
            rows.append((fields, between, 100 * u, 100 * alone if fields > 1 else np.nan, k, 100 * of_largest))
    columns = ["fields", "between", "held by U, %", "by the spread alone, %", "k, mean", "largest, held by U, %"]
    print(pd.DataFrame(rows, columns=columns).round(1).to_string(index=False))


if __name__ == "__main__":
    main()
