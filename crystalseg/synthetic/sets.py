"""Sets of synthetic micrographs, by seed and index: mixed ones, flat ones, and grains as in the paper (section
IV-A)."""

from dataclasses import replace

import numpy as np

from crystalseg.micrographs.labels import size_class as classify
from crystalseg.synthetic.appearance import Look, random_look
from crystalseg.synthetic.drawing import Synthetic, draw
from crystalseg.synthetic.packing import Kind
from crystalseg.synthetic.structure import Structure, random_structure

FLAT_KINDS: tuple[Kind, ...] = ("powder", "precipitates", "precipitates", "pebbles", "faceted", "laths")


def _set_seed(seed: int, index: int) -> int:
    """Return an odd seed. Training draws from even seeds, so no image of a set is a training image."""
    return 2 * (1_000_003 * seed + index) + 1


def sides_about(side: float, rng: np.random.Generator, spread: float) -> tuple[int, int]:
    """Draw height and width of an image with sides of about `side` px, each off by a factor of up to exp(± spread)."""
    height, width = np.exp(rng.uniform(-spread, spread, 2))
    return int(side * height), int(side * width)


def draw_random(seed: int, index: int) -> Synthetic:
    """Draw image `index` of the mixed set `seed`: any kind, sides of 256 to 1200 px."""
    number = _set_seed(seed, index)
    rng = np.random.default_rng((number, 1))
    side = np.exp(rng.uniform(np.log(256), np.log(1200)))
    return draw(number, sides_about(side, rng, 0.2))


def draw_grain(seed: int, index: int, size_class: int) -> Synthetic:
    """Draw image `index` of the grain set `seed`: one grain as cut out in the paper (section IV-A), of class 1, 2 or 3.

    Sides are 150 to 1800 px, crystals are 8 px or more. Grains are drawn until one has the class.
    """
    rng = np.random.default_rng((_set_seed(seed, index), size_class))
    while True:
        drawn = draw(int(rng.integers(2**60)) * 2 + 1, *random_grain(rng, size_class))
        if drawn.labels.max() and classify(drawn.labels) == size_class:
            return drawn


def draw_flat(seed: int, index: int) -> Synthetic:
    """Draw image `index` of the set of flat pictures `seed` (see `random_flat`); sides of 256 to 900 px."""
    rng = np.random.default_rng((_set_seed(seed, index), 2))
    side = np.exp(rng.uniform(np.log(256), np.log(900)))
    shape = sides_about(side, rng, 0.2)
    return draw(int(rng.integers(2**60)) * 2 + 1, shape, *random_flat(rng, shape))


def random_flat(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Structure, Look]:
    """Draw particles of one brightness on a ground of another, either of them the darker, with little or nothing else
    to see: inclusions, graphite nodules, anything that a threshold would find. Returns arguments for `draw`.

    The particles are few enough to lie apart: without a line between them, touching particles could not be told apart.
    """
    structure = random_structure(rng, shape, FLAT_KINDS[rng.integers(len(FLAT_KINDS))])
    ground = rng.uniform(0, 1)
    apart = rng.uniform(0.2, 0.7) * (1 if ground < 0.3 else -1 if ground > 0.7 else rng.choice([-1, 1]))
    crystal = float(np.clip(ground + apart, 0, 1))
    tint = rng.uniform(-0.12, 0.12, (2, 3)) if rng.random() < 0.2 else np.zeros((2, 3))
    texture = np.exp(rng.uniform(np.log(0.0005), np.log(0.03), 2))
    look = Look(
        crystal=tuple(np.clip(crystal + tint[0], 0, 1)),
        matrix=tuple(np.clip(ground + tint[1], 0, 1)),
        brightness_spread=float(rng.choice([0.0, 0.03])),
        grain_texture=float(texture[0]),
        matrix_texture=float(texture[1]),
        texture_scale=float(np.exp(rng.uniform(0, np.log(8)))),
        line=0.0 if rng.random() < 0.6 else float(rng.uniform(-0.2, 0.2)),
        rim=float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        scratches=int(rng.poisson(rng.choice([0, 0, 4]))),
        pores=0,
        unevenness=float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        blur=float(rng.uniform(0.3, 1.5)),
        noise=float(np.exp(rng.uniform(np.log(0.0005), np.log(0.06)))),
        gray=not tint.any(),
    )
    return replace(structure, coverage=float(rng.uniform(0.03, 0.35))), look


def random_grain(rng: np.random.Generator, size_class: int) -> tuple[tuple[int, int], Structure, Look]:
    """Draw shape, structure and look of a grain that probably has class 1, 2 or 3. Returns arguments for `draw`."""
    # Sides and diameters were chosen so that the average crystal size of each class is near that in the paper's table
    # III.
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
