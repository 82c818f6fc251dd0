"""Which stored values become black and white."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from crystalseg.measurement.diameter import diameters
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings

rng = np.random.default_rng(0)
SHAPE = (700, 900)
y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
DISCS = np.zeros(SHAPE, bool)
for cy, cx in ((150, 200), (350, 650), (600, 300)):
    DISCS |= (y - cy) ** 2 + (x - cx) ** 2 <= 64  # 0.09 % of the image
VALUES = np.where(DISCS, 50000, 8000) + rng.normal(0, 60, SHAPE)
HOT = VALUES.copy()
HOT[rng.integers(0, 700, 40), rng.integers(0, 900, 40)] = 65535


def file(array):
    buffer = io.BytesIO()
    if array.dtype == np.uint8:
        Image.fromarray(array).save(buffer, "PNG")
    else:
        tifffile.imwrite(buffer, array, photometric="minisblack")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "stored",
    [
        VALUES.astype(np.uint16),
        (VALUES / 65535).astype(np.float32),
        (VALUES / 257).astype(np.uint8),
        HOT.astype(np.uint16),
        (VALUES - 32768).astype(np.int16),
    ],
    ids=["16 bit", "float", "8 bit", "hot pixels", "signed"],
)
def test_a_few_inclusions_are_as_many_whatever_the_number_type(stored):
    found = segment(read_micrograph(file(stored), "x"), Settings("watershed"), None)
    assert len(diameters(found.labels)) == 3
    np.testing.assert_allclose(diameters(found.labels), 2 * np.sqrt(DISCS.sum() / 3 / np.pi), rtol=0.05)


def test_dark_inclusions_stay_the_darkest():
    pixels = read_micrograph(file((60000 - VALUES).astype(np.uint16)), "x").pixels[..., 0]
    assert pixels[DISCS].max() < 50
    assert pixels[~DISCS].min() > 200


def test_what_can_be_seen_beside_a_few_bright_spots_stays_seen():
    grains = np.kron(rng.integers(1000, 1400, (70, 90)), np.ones((10, 10))) + rng.normal(0, 10, SHAPE)
    plain = read_micrograph(file(grains.astype(np.uint16)), "x").pixels[..., 0].astype(int)
    spots = read_micrograph(file(np.where(DISCS, 50000, grains).astype(np.uint16)), "x").pixels[..., 0]
    assert np.abs(plain - spots)[~DISCS].max() <= 10
    assert np.ptp(plain) == 255
