"""How often one population is taken for two, and two are found: drawn sections with a limit of detection.

    python -m benchmarks.duplex [--samples 100] [--seed 0]

One population: planar Voronoi, sections of 3-D Voronoi, Rayleigh, sections of log-normal spheres, log-normal; of 100,
300 and 1000 crystals, none cut off and cut off at a fifth of the median diameter. Two: as many of either kind, 4 G
apart, and as much area.
"""

import argparse
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from benchmarks.drawn_fields import drawn
from crystalseg.evaluation.tables import markdown
from crystalseg.measurement.populations import duplex

COUNTS = (100, 300, 1000)
LIMIT = 0.2  # of the median diameter
FACTOR = 4.0  # of diameters 4 G apart: 2·log2


def _of_fields(structure: str) -> Callable[[np.random.Generator, int], np.ndarray]:
    def sample(rng: np.random.Generator, count: int) -> np.ndarray:
        field = drawn(structure, rng, count * 1.25).crystals
        return field.loc[~field["touches_border"], "equivalent_diameter_px"].to_numpy()

    return sample


def spheres(rng: np.random.Generator, count: int) -> np.ndarray:
    """Diameters of plane sections of spheres with log-normal diameters; a sphere is cut in proportion to its own."""
    diameters = rng.lognormal(0.3**2, 0.3, count)
    return diameters * np.sqrt(1 - rng.uniform(0, 1, count) ** 2)


def _mixed(share: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    def sample(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.lognormal(0, 0.3, count) * np.where(rng.uniform(size=count) < share, FACTOR, 1.0)

    return sample


ONE: Mapping[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "planar Voronoi": _of_fields("planar Voronoi"),
    "section of 3-D Voronoi": _of_fields("section of 3-D Voronoi"),
    "Rayleigh": lambda rng, count: rng.rayleigh(1.0, count),
    "sections of log-normal spheres": spheres,
    "log-normal": lambda rng, count: rng.lognormal(0, 0.5, count),
}
TWO = {"4 G apart, half by number": _mixed(0.5), "4 G apart, half by area": _mixed(1 / (1 + FACTOR**2))}


def called(sample: Callable, count: int, limit: float, samples: int, seed: int) -> float:
    """Of samples of so many crystals, those of at least `limit` times the median: % that are called duplex."""
    found = 0
    for k in range(samples):
        sizes = sample(np.random.default_rng((seed, count, k)), count)
        found += duplex(sizes[sizes >= limit * np.median(sizes)]) is not None
    return 100 * found / samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = []
    for name, sample in {**ONE, **TWO}.items():
        for limit in (0.0, LIMIT):
            each = {str(n): called(sample, n, limit, options.samples, options.seed) for n in COUNTS}
            rows.append({"sizes": name, "cut off below, of the median": limit, **each})
            print(rows[-1], flush=True)
    print(markdown(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
