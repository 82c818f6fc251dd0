"""Where the crystals of a synthetic micrograph are: kind, sizes, shapes."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from crystalseg.synthetic.packing import POLYCRYSTALS, Kind

# How often each kind is drawn, in the order of `Kind`.
SHARES = (0.22, 0.2, 0.04, 0.14, 0.16, 0.12, 0.12)


@dataclass(frozen=True)
class Structure:
    """Where the crystals are. Lengths in px.

    kind: `polycrystal` fills the image; `grain` is a polycrystal on a background; `single` is one crystal on a
        background; `cluster` is a grain with one huge crystal among tiny ones; `powder`, `pebbles` and `precipitates`
        are particles on a matrix.
    diameter: median crystal diameter before packing (of the tiny crystals in a `cluster`).
    spread: standard deviation of the logarithm of the diameter.
    coverage: share of the area that the packed discs are asked to cover, 0 to 1.
    boundary: width of the unlabelled line between adjacent crystals of a polycrystal (paper: about 5 px).
    waviness: amplitude of boundary undulation, as a share of the diameter.
    elongation: ratio of long to short axis of particles.
    irregularity: relative amplitude of a particle's outline about its ellipse.
    """

    kind: Kind
    diameter: float = 50.0
    spread: float = 0.5
    coverage: float = 0.7
    boundary: float = 5.0
    waviness: float = 0.05
    elongation: float = 1.2
    irregularity: float = 0.03


def random_structure(rng: np.random.Generator, shape: tuple[int, int], kind: Kind | None = None) -> Structure:
    """A structure typical of its kind for an image of `shape`; the kind too is drawn unless given."""
    side = min(shape)
    if kind is None:
        kind = get_args(Kind)[rng.choice(len(SHARES), p=SHARES)]
    dense = kind in POLYCRYSTALS
    smallest = 14 if dense else 9
    largest = side * {"cluster": 0.1, "precipitates": 0.08}.get(str(kind), 0.3)
    particles = {"precipitates": (0.1, 0.35), "powder": (0.3, 0.95)}.get(str(kind), (0.2, 0.8))
    return Structure(
        kind=kind,
        diameter=float(np.exp(rng.uniform(np.log(smallest), np.log(max(largest, smallest * 1.5))))),
        spread=float(rng.uniform(0.15, 0.9)),
        coverage=float(rng.uniform(0.6, 0.75) if dense else rng.uniform(*particles)),
        boundary=float(rng.uniform(3, 6)) if rng.random() < 0.7 else 1.5,
        waviness=float(rng.choice([0.02, 0.06, 0.15])),
        elongation=float(rng.uniform(1.0, 1.12) if kind == "powder" else rng.uniform(1.0, 2.2)),
        irregularity=float(rng.uniform(0, 0.02) if kind == "powder" else rng.uniform(0.01, 0.1)),
    )
