from dataclasses import replace

import pytest

from crystalseg.errors import UserError
from crystalseg.record.database import open_database
from crystalseg.record.instruments import Instrument, instruments, save

SEM = Instrument("SEM 2, 500 ×", 0.2, 0.004, "2026-01-31", 100.0, 0.3, "K-17")


def test_the_latest_calibration_of_a_name_is_used():
    engine = open_database()
    save(engine, SEM, "A. Kern")
    save(engine, replace(SEM, name="LM 50 ×"))
    save(engine, replace(SEM, um_per_px=0.21))
    found = instruments(open_database())
    assert list(found) == ["SEM 2, 500 ×", "LM 50 ×"]
    assert found["SEM 2, 500 ×"].um_per_px == 0.21


def test_an_image_says_what_it_was_calibrated_with():
    made = SEM.calibration()
    assert made.um_per_px == 0.2
    assert made.uncertainty == 0.004
    for words in ("SEM 2, 500 ×", "2026-01-31", "100 µm", "K-17"):
        assert words in made.source


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": " "}, "needs a name"),
        ({"date": "31.1.2026"}, "2026-01-31"),
        ({"um_per_px": 0.0}, "positive number"),
        ({"uncertainty": 2.0}, "between 0 and 100"),
    ],
)
def test_a_calibration_that_means_nothing_is_refused(change, words):
    with pytest.raises(UserError, match=words):
        replace(SEM, **change)
