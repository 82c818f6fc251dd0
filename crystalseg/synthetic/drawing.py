"""Draw synthetic micrographs with exact labels: for training, for tests, and for trying the tool.

`draw` makes one from a seed. A `Structure` says where the crystals are, a `Look` how the microscope shows them. Both
are drawn at random unless they are given. Polycrystals are Laguerre (power) tessellations of randomly packed discs with
log-normal diameters. Particles are irregular discs that may lie over one another.
"""

from dataclasses import dataclass

import numpy as np

from crystalseg.synthetic.appearance import Look, random_look
from crystalseg.synthetic.geometry import labels_of, place_particles, place_polycrystal
from crystalseg.synthetic.packing import POLYCRYSTALS
from crystalseg.synthetic.rendering import render
from crystalseg.synthetic.structure import Structure, random_structure
from crystalseg.synthetic.techniques import with_technique


@dataclass(frozen=True)
class Synthetic:
    """A drawn micrograph. image: uint8 (H, W, 3) RGB. labels: int32 (H, W), 0 = background, 1..n. structure, look: what
    it was drawn from."""

    image: np.ndarray
    labels: np.ndarray
    structure: Structure
    look: Look


def draw(
    seed: int,
    shape: tuple[int, int] = (1000, 1000),
    structure: Structure | None = None,
    look: Look | None = None,
) -> Synthetic:
    """Draw one synthetic micrograph of `shape` (H, W). The same arguments give the same pixels. If only a structure is
    given, the look is a usual one for its kind."""
    rng = np.random.default_rng(seed)
    any_technique = structure is None
    structure = structure or random_structure(rng, shape)
    if look is None:
        look = random_look(rng, structure.kind, structure.diameter)
        look = with_technique(rng, look, structure) if any_technique else look
    place = place_polycrystal if structure.kind in POLYCRYSTALS else place_particles
    geometry = place(rng, shape, structure)
    image = render(rng, geometry, look)
    return Synthetic(image, labels_of(geometry, structure), structure, look)
