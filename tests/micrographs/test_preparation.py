import numpy as np
import pytest

from crystalseg.micrographs.calibration import Calibration, from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.preparation import prepared


def image(um_per_px=None, bar=False):
    pixels = np.random.default_rng(0).integers(60, 160, (300, 400, 3)).astype(np.uint8)
    if bar:
        pixels[260:] = 0
        pixels[270:290, 20:60:4] = 255  # writing
    return Micrograph(pixels, "a.tif", "", from_um_per_px(um_per_px) if um_per_px else None)


def test_a_pixel_size_given_is_taken_where_the_file_states_none_or_the_same():
    given = Calibration(0.5, "SEM 2", 0.01)
    assert prepared(image(), given).calibration == given
    assert prepared(image(0.51), given).calibration == given
    assert prepared(image(0.7)).um_per_px == 0.7
    assert prepared(image()).calibration is None


@pytest.mark.parametrize("stated", [0.25, 0.47, 0.53])
def test_a_file_that_states_another_magnification_is_refused(stated):
    with pytest.raises(MicrographError, match=rf"states {stated} µm per pixel, not the 0.5 given \(SEM 2\)"):
        prepared(image(stated), Calibration(0.5, "SEM 2"))


def test_a_data_bar_is_left_out_and_said_so_unless_it_is_to_be_kept():
    cut = prepared(image(bar=True))
    assert cut.shape == (260, 400)
    assert cut.notes == ("The data bar below row 260 was left out.",)
    assert prepared(image(bar=True), keep_data_bar=True).shape == (300, 400)
    assert prepared(image()).shape == (300, 400)
