"""What any threshold finds is found with the shipped weights, whichever is the brighter."""

import numpy as np
import pytest

from benchmarks.plain_shapes import BRIGHT, DARK, picture, shapes
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation import segment
from crystalseg.segmentation.settings import Settings


@pytest.mark.parametrize("kind", ["disc", "polygon"])
@pytest.mark.parametrize(("crystal", "ground"), [(BRIGHT, DARK), (DARK, BRIGHT)], ids=["bright", "dark"])
def test_plain_shapes_are_found(models, kind, crystal, ground):
    rng = np.random.default_rng(11)
    labels = shapes(rng, kind, (14, 40))[:256, :256]
    pixels = picture(rng, labels, crystal, ground, 2.0)
    found = segment(Micrograph(pixels, "drawn", ""), Settings(), models).labels
    assert panoptic_quality(labels, found) > 0.75
