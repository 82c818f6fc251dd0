import numpy as np
import pytest

from crystalseg.measurement.conditions import Conditions
from crystalseg.measurement.figures import Figure
from crystalseg.measurement.uncertainty import SHARES, Budget, Component, Validation, budget, errors, share_key

POWDER = Validation("powder", "sima-plus", 3, {"mean": (0.03, -0.04, 0.0), "g_lines": (0.1, -0.2, 0.0)})


def test_a_length_by_hand():
    # 50 µm: sampling 1 µm; calibration 1 % of it; segmentation: e/(1 + e) of 3 and −4 %
    figure = Figure("mean", 50.0, "µm", 1.0, "bootstrap over 200 crystals")
    found = budget(figure, 0.01, POWDER)
    assert [c.source for c in found.components] == ["sampling", "segmentation", "calibration"]
    off = 50 * np.sqrt(((3 / 103) ** 2 + (4 / 96) ** 2) / 3)
    assert [c.standard for c in found.components] == pytest.approx([1.0, off, 0.5])
    assert found.combined == pytest.approx(np.sqrt(1 + off**2 + 0.25))
    # only the root mean square of three images has few degrees of freedom: (u_c / u_segmentation)⁴ · 3
    assert found.freedom == pytest.approx(3 * ((1 + off**2 + 0.25) / off**2) ** 2)
    assert found.expanded == pytest.approx(found.coverage * found.combined)
    assert found.complete
    assert found.components[1].how.endswith("sima-plus on 3 images of powder")


def test_degrees_of_freedom_of_the_end_gauge():
    # JCGM 100:2008, H.1.6: u in nm and ν of four components give u_c = 32 nm and ν_eff = 16.7
    known = ((25, 18), (9.7, 25.6), (2.9, 50), (16.6, 2))
    found = Budget(Figure("mean", 1, "µm", 0, ""), tuple(Component("", u, "A", "", v) for u, v in known))
    assert found.combined == pytest.approx(32, abs=0.5)
    assert found.freedom == pytest.approx(16.7, abs=0.3)


@pytest.mark.parametrize(("freedom", "k"), [(1, 13.97), (2, 4.53), (3, 3.31), (10, 2.28), (np.inf, 2.00)])
def test_coverage_factors_of_the_table(freedom, k):
    # JCGM 100:2008, table G.2, column 95.45 %
    found = Budget(Figure("mean", 1, "µm", 0, ""), (Component("", 0.5, "A", "", freedom), Component("", None, "B", "")))
    assert found.coverage == pytest.approx(k, abs=0.005)
    assert found.expanded == pytest.approx(found.coverage * 0.5)


def test_a_grain_size_number_by_hand():
    # 1 % of a length is 2·log2(1.01) ≈ 0.0287 G
    figure = Figure("g_lines", 8.0, "", 0.05, "jackknife over 16 lines")
    found = budget(figure, 0.01, POWDER)
    assert found.components[2].standard == pytest.approx(2 * np.log2(1.01), rel=0.01)
    assert found.components[1].standard == pytest.approx(np.sqrt((0.01 + 0.04) / 3))


def test_a_share_has_no_calibration_and_px_neither():
    share = Figure("span", 1.2, "", 0.1, "")
    assert [c.source for c in budget(share, None, None).components] == ["sampling", "segmentation"]
    length = Figure("mean", 30.0, "px", 0.4, "")
    assert len(budget(length, None, POWDER, scaled=False).components) == 2


def test_what_is_not_known_is_said_and_not_guessed():
    figure = Figure("mean", 50.0, "µm", float("nan"), "")
    found = budget(figure, None, None)
    assert not found.complete
    assert [c.standard for c in found.components] == [None, None, None]
    assert found.combined == 0


def test_an_area_share_is_off_by_a_share():
    known = Validation("powder", "sima-plus", 3, {"area_above": (0.03, 0.04, 0.0)})
    share = Figure("area_above", 0.02, "", 0.01, "", per_pixel=0.004)
    found = budget(share, 0.01, known)
    assert [c.standard for c in found.components] == pytest.approx([0.01, 0.05 / np.sqrt(3), 0.004])
    assert not budget(share, None, known).complete  # every size moves with the pixel size
    assert len(budget(share, None, known, scaled=False).components) == 2


def test_an_area_share_is_off_by_what_it_was_where_as_much_was_measured():
    by_share = {share_key(share): (share / 10, -share / 10, 0.0) for share in SHARES}
    known = Validation("powder", "sima-plus", 3, by_share | {"area_above": (0.9, 0.8, 0.7)})
    found = budget(Figure("area_above", 0.3, "", 0.01, ""), None, known, scaled=False)
    assert found.components[1].standard == pytest.approx(0.03 * np.sqrt(2 / 3))


def test_errors_are_relative_to_the_truth_and_applied_to_what_was_measured():
    # always 60 % low: of 40 measured, 100 are true; 60 off, not 24
    low = Validation("powder", "sima-plus", 30, {"mean": (-0.6,) * 30})
    found = budget(Figure("mean", 40.0, "µm", 0.0, "none"), 0.0, low)
    assert found.components[1].standard == pytest.approx(60)
    assert 40 + found.expanded > 100
    nothing = Validation("powder", "sima-plus", 3, {"mean": (-1.0, 0.0, 0.0)})
    assert not budget(Figure("mean", 40.0, "µm", 0.0, "none"), 0.0, nothing).complete


def test_errors_are_relative_but_for_g():
    true = {
        "mean": Figure("mean", 40.0, "px", 0, ""),
        "g_area": Figure("g_area", 6.0, "", 0, ""),
        "d50": Figure("d50", 10.0, "px", 0, ""),
        "span": Figure("span", 0.0, "", 0, ""),
    }
    found = {"mean": Figure("mean", 42.0, "px", 0, ""), "g_area": Figure("g_area", 5.5, "", 0, "")}
    off = errors(found, true)
    assert off["mean"] == pytest.approx(0.05)
    assert off["g_area"] == pytest.approx(-0.5)
    assert np.isnan(off["d50"])
    assert "span" not in off  # nothing is relative to zero


def of_text(text):
    return Conditions(text=text)


def test_conditions_are_told_apart_by_key_and_only_without_one_by_text():
    one, other = Conditions('{"h":0}', "h 0"), Conditions('{"h":1e-09}', "h 0")
    assert one.same(one)
    assert not one.same(other)
    assert one.same(of_text("h 0"))
    assert of_text("h 0").same(one)
    assert not Conditions().same(Conditions())  # what was not noted holds for nothing
    assert (one.told_from(other), one.told_from(of_text("h 1"))) == ("h 0", "h 0")
    assert other.told_from(one) == "h 1e-09"


def test_a_validation_holds_for_its_thresholds_and_weights_only():
    made = Validation("powder", "sima-plus", 3, {"mean": (0.03, -0.04, 0.0)}, of_text("h 0"), {"folded": "ab"})
    figure = Figure("mean", 50.0, "µm", 1.0, "")
    assert made.of(of_text("h 0"), {"folded": "ab", "other": "cd"}) is made
    for thresholds, weights, why in (
        ("h 1", {"folded": "ab"}, "validated with other thresholds (h 0)"),
        ("h 0", {"folded": "cd"}, "validated with other weights"),
        ("h 0", {}, "validated with other weights"),
    ):
        found = budget(figure, 0.01, made.of(of_text(thresholds), weights))
        assert not found.complete
        assert why in found.components[1].how
        assert (
            why in made.of(of_text(thresholds), weights).of(of_text("h 0"), {"folded": "ab"}).doubt
        )  # one field spoils the sample
    assert "not noted" in POWDER.of(of_text("h 0"), {}).doubt


def test_one_lucky_image_is_no_validation():
    once = Validation("powder", "sima-plus", 1, {"mean": (0.001,)})
    found = budget(Figure("mean", 50.0, "µm", 1.0, ""), 0.01, once)
    assert not found.complete
    assert "sima-plus on 1 image of powder only; 3 images or more" in found.components[1].how
