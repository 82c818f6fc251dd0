"""Where the crystals of a synthetic micrograph are: kind, sizes, shapes."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from crystalseg.synthetic.packing import GROWN, POLYCRYSTALS, Kind

# How often each kind is drawn, in the order of `Kind`.
SHARES = (0.19, 0.16, 0.03, 0.11, 0.12, 0.09, 0.1, 0.04, 0.05, 0.04, 0.02, 0.05)
Bands = Literal["", "twins", "lamellae"]


@dataclass(frozen=True)
class Structure:
    """Where the crystals are. Lengths are px.

    kind: `polycrystal` fills the image; `grain` is a polycrystal on a background; `single` is one crystal on a
        background; `cluster` is a grain with one huge crystal among tiny ones; `columnar` is a polycrystal of grains
        that are long in one direction; `powder`, `pebbles` and `precipitates` are particles on a matrix; `faceted` are
        idiomorphic crystals, `laths` include needles, `dendrites` have arms; `agglomerates` lie in heaps.
    diameter: median crystal diameter before packing (of the tiny crystals in a `cluster`).
    spread: standard deviation of the logarithm of the diameter.
    coverage: share of the area that the packed discs should cover, 0 to 1.
    boundary: width of the unlabelled line between adjacent crystals of a polycrystal (paper: about 5 px).
    waviness: amplitude of boundary undulation, as a share of the diameter.
    elongation: ratio of long to short axis of particles and columnar grains.
    irregularity: relative amplitude of a particle's outline about its ellipse.
    raggedness: amplitude of fine indentations of a polycrystal's boundaries, as a share of the diameter.
    bands: stripes within crystals that do not divide them: annealing `twins`, or `lamellae` as in pearlite.
    porosity: share of a polycrystal's area that is pores on its boundaries.
    """

    kind: Kind
    diameter: float = 50.0
    spread: float = 0.5
    coverage: float = 0.7
    boundary: float = 5.0
    waviness: float = 0.05
    elongation: float = 1.2
    irregularity: float = 0.03
    raggedness: float = 0.0
    bands: Bands = ""
    porosity: float = 0.0


def random_structure(rng: np.random.Generator, shape: tuple[int, int], kind: Kind | None = None) -> Structure:
    """Draw a structure that is typical of its kind, for an image of `shape`. The kind is drawn too unless it is given.
    Some structures have features that only some specimens have: ragged boundaries, twins, lamellae, pores."""
    if kind is None:
        kind = get_args(Kind)[rng.choice(len(SHARES), p=SHARES)]
        return _with_habit(rng, random_structure(rng, shape, kind))
    side = min(shape)
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


def _with_habit(rng: np.random.Generator, s: Structure) -> Structure:
    if s.kind in ("columnar", "laths"):
        low, high = (1.8, 4.0) if s.kind == "columnar" else (3.0, 12.0)
        s = replace(s, elongation=float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    if s.kind in (*GROWN, "agglomerates"):
        return replace(s, irregularity=float(rng.uniform(0, 0.03)), diameter=s.diameter * float(rng.uniform(0.5, 1)))
    if s.kind not in POLYCRYSTALS or s.kind == "single":
        return s
    if rng.random() < 0.25:
        s = replace(s, raggedness=float(rng.uniform(0.03, 0.12)))
    if rng.random() < 0.2:
        s = replace(s, bands="twins" if rng.random() < 0.65 else "lamellae")
    if rng.random() < 0.15:
        s = replace(s, porosity=float(rng.uniform(0.01, 0.15)))
    return s
