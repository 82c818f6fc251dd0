"""Sets of synthetic micrographs, by seed and number: mixed ones, and grains as in the paper (section IV-A)."""

from dataclasses import replace

import numpy as np

from crystalseg.micrographs.labels import size_class as classify
from crystalseg.synthetic.appearance import Look, random_look
from crystalseg.synthetic.drawing import Synthetic, draw
from crystalseg.synthetic.packing import Kind
from crystalseg.synthetic.structure import Structure, random_structure


def _set_seed(seed: int, index: int) -> int:
    """Odd, so that no image of a set is one that training draws (those have even seeds)."""
    return 2 * (1_000_003 * seed + index) + 1


def sides_about(side: float, rng: np.random.Generator, spread: float) -> tuple[int, int]:
    """Height and width of an image whose sides are about `side` px, each off by a factor of up to exp(± spread)."""
    height, width = np.exp(rng.uniform(-spread, spread, 2))
    return int(side * height), int(side * width)


def draw_random(seed: int, index: int) -> Synthetic:
    """Image `index` of the mixed set `seed`: any kind, sides of 256 to 1200 px."""
    number = _set_seed(seed, index)
    rng = np.random.default_rng((number, 1))
    side = np.exp(rng.uniform(np.log(256), np.log(1200)))
    return draw(number, sides_about(side, rng, 0.2))


def draw_grain(seed: int, index: int, size_class: int) -> Synthetic:
    """Image `index` of the grain set `seed`: a cut-out of one grain as in the paper (section IV-A), of class 1, 2 or 3.

    Sides of 150 to 1800 px, crystals of 8 px and more. Grains are drawn until one is of the class.
    """
    rng = np.random.default_rng((_set_seed(seed, index), size_class))
    while True:
        drawn = draw(int(rng.integers(2**60)) * 2 + 1, *random_grain(rng, size_class))
        if drawn.labels.max() and classify(drawn.labels) == size_class:
            return drawn


def random_grain(rng: np.random.Generator, size_class: int) -> tuple[tuple[int, int], Structure, Look]:
    """Shape, structure and look of a grain that probably is of class 1, 2 or 3; arguments for `draw`."""
    # Sides and diameters were set so that the average crystal size of each class comes near the paper's table III.
    low, high = {1: (150, 800), 2: (600, 1800), 3: (300, 1400)}[size_class]
    side = np.exp(rng.uniform(np.log(low), np.log(high)))
    height, width = sides_about(side, rng, 0.2)
    shape = (min(max(height, 150), 1800), min(max(width, 150), 1800))
    kind: Kind = "grain"
    if size_class == 2 and rng.random() < 0.3:
        kind = "cluster"
    elif rng.random() < 0.06:
        kind = "single"
    structure = random_structure(rng, shape, kind)
    if kind == "grain":
        share = {1: (0.15, 0.4), 2: (0.08, 0.25), 3: (0.2, 0.5)}[size_class]
        diameter = max(14.0, min(shape) * np.exp(rng.uniform(*np.log(share))))
        structure = replace(structure, diameter=float(diameter), spread=float(rng.uniform(0.2, 0.8)))
    structure = replace(structure, boundary=5.0)
    return shape, structure, random_look(rng, structure.kind, structure.diameter)
