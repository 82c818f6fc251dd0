import numpy as np
import pytest

from crystalseg.evaluation import validation
from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.field import Field
from crystalseg.measurement.figures import figures
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.networks.weights import file_hash
from crystalseg.record import validations
from crystalseg.record.database import RecordError
from crystalseg.record.profiles import Profile
from crystalseg.segmentation.settings import Measuring, Settings
from tests.conftest import discs, squares

POWDER = Profile("p", kind="powder")


def test_a_method_that_sees_squares_too_large_is_told_by_how_much():
    # 11 squares of 40 px or 10 of 44 fill the side of the field: every count is exact
    labels = squares(440, 40, (13, 21))
    image = Micrograph(np.zeros((440, 440, 3), np.uint8), "a.png", "0" * 64)
    made = validation.validate(
        [(image, labels), (image, labels)], lambda m: squares(440, 44, (13, 21)), "squares", "test", "exclude"
    )
    assert made.images == 2
    assert made.errors["mean"] == pytest.approx([0.1, 0.1])
    assert made.errors["g_planimetric"] == pytest.approx([-2 * np.log2(1.1)] * 2, abs=1e-4)
    assert made.errors["intercept_lines"] == pytest.approx([0.1, 0.1], abs=1e-6)


def test_the_pixel_size_does_not_change_an_error():
    labels = squares(400, 40, (13, 21))
    plain = Micrograph(np.zeros((400, 400, 3), np.uint8), "a.png", "0" * 64)
    calibrated = Micrograph(plain.pixels, "a.png", "0" * 64, from_um_per_px(0.2))
    one, other = (
        validation.validate([(m, labels)], lambda m: squares(400, 36, (5, 7)), "k", "m", "exclude").errors
        for m in (plain, calibrated)
    )
    assert set(one) == set(other)
    for key in one:
        # the constants of G are rounded in the standards
        assert one[key] == pytest.approx(other[key], abs=1e-3)


def test_no_area_share_is_further_off_than_is_said():
    true = discs((300, 300), [(50, 50, 10), (50, 200, 25), (200, 60, 40), (200, 220, 18)])
    found = discs((300, 300), [(50, 50, 11), (50, 200, 20), (200, 60, 40)])
    image = Micrograph(np.zeros((300, 300, 3), np.uint8), "a.png", "0" * 64)
    off = validation.figure_errors(image, found, true, "include")["area_above"]
    fields = [Field(labels, measure_crystals(labels), None) for labels in (found, true)]
    shares = [[figures([f], "include", x, 0)["area_above"].value for x in range(1, 90)] for f in fields]
    assert off == pytest.approx(np.abs(np.subtract(*shares)).max())
    assert off > 0.05
    assert np.isnan(validation.figure_errors(image, 0 * found, true, "include")["area_above"])
    # the same shares everywhere: nothing off
    assert validation.figure_errors(image, true, true, "include")["area_above"] == 0


def test_what_is_shipped_was_measured_with_the_weights_that_are_shipped():
    shipped = validations.validations()
    assert shipped
    for made in shipped:
        assert made.conditions.same(Settings.called(made.method).conditions)
        assert made.weights == {n: file_hash(DIRECTORY / f"{n}.safetensors") for n in made.weights}
        assert set(made.weights) == set(Settings.called(made.method).networks)


def test_a_profile_says_beforehand_why_no_verdict_will_be_given():
    limits = (Limit("mean", 1, 2),)
    usual = Settings("sima")

    def why(images=3, conditions=usual.conditions, settings=usual, **more):
        validations.keep(Validation("powder", "sima", images, {"mean": [0.1] * images}, conditions), validations.own())
        return validations.no_verdict(
            Profile(
                "p", **{"kind": "powder", "limits": limits, "settings": settings, "decision_rule": "guarded"} | more
            )
        )

    assert why() == ""
    assert why(limits=(), kind="") == ""
    assert why(kind="", decision_rule="simple") == ""
    assert "names no kind of material" in why(kind="")
    assert "sima was not validated on “paint”" in why(kind="paint")
    assert "sima on 2 images of powder only; 3 or more images are needed" in why(images=2)
    assert "validated with other thresholds (h 1)" in why(conditions=Conditions(text="h 1"))
    assert "Leave “Count only” empty" in why(settings=Settings("sima", measuring=Measuring(only="round")))


@pytest.mark.parametrize("text", ["[3", "[3]", "3", '[{"kind": "powder"}]'])
def test_a_damaged_file_is_said_to_be_so(text):
    validations.own().write_text(text)
    with pytest.raises(RecordError, match=r"validation\.json is damaged\. Restore it from a back-up"):
        validations.validations()


def test_what_is_kept_is_found_and_ones_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(validations, "SHIPPED", tmp_path / "shipped.json")
    off = {"mean": [0.01, float("nan")]}
    validations.keep(Validation("powder", "sima", 2, off), validations.SHIPPED)
    validations.keep(Validation("powder", "sima-plus", 2, off), validations.SHIPPED)
    assert validations.lookup(POWDER, Settings("sima")).errors == {"mean": [0.01]}
    own = Validation("powder", "sima", 5, {"mean": [0.1] * 5}, Settings("sima").conditions, {"sima": "ab"})
    validations.keep(own, validations.own())
    assert validations.lookup(POWDER, Settings("sima")) == own
    # what was kept before SiMA+ had a choice of its flow network was measured on CPNet
    assert validations.lookup(POWDER, Settings("sima-plus", network="cellpose")).images == 2
    assert validations.lookup(POWDER, Settings("sima-plus", network="folded")) is None
    assert validations.lookup(Profile("p", kind="paint"), Settings("sima")) is None
    assert validations.lookup(None, Settings("sima")) is None
    validations.keep(Validation("powder", "sima", 6, {}), validations.own())
    assert [v.images for v in validations.validations()] == [6, 2]
