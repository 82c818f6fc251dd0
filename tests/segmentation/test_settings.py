import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalseg.segmentation.methods import LADDERS
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Measuring, Settings, SettingsError, as_then


@pytest.mark.parametrize(
    ("shape", "first"),
    [((1000, 1500), 224 / 1500), ((1800, 400), 224 / 1800), ((224, 224), 0.25), ((150, 100), 0.25), ((256, 256), 0.25)],
)
def test_first_factor_by_the_papers_rule(shape, first):
    ladder = Scales().ladder(shape)
    assert ladder == (pytest.approx(first), 0.5, 0.75, 1.0)
    assert list(ladder) == sorted(ladder)


def test_factors_by_hand_are_taken_as_they_are():
    assert Scales((0.1, 1.0), (100, 25)).ladder((5000, 5000)) == (0.1, 1.0)


def test_a_single_automatic_factor_never_enlarges():
    assert Scales((None,), (100,)).ladder((100, 100)) == (1.0,)


@pytest.mark.parametrize(
    ("shape", "lowest"),
    [((1000, 1500), 1 / 8), ((1800, 400), 1 / 8), ((256, 200), 1 / 2), ((255, 200), 1), ((9, 9), 1)],
)
def test_octaves_go_down_while_something_is_left_to_see(shape, lowest):
    ladder = Settings().ladder(shape)
    assert ladder[0] == lowest
    assert ladder[-1] == 1
    assert all(b == 2 * a for a, b in itertools.pairwise(ladder))
    assert Settings(scales=Scales((0.3, 0.9))).ladder(shape) == (0.3, 0.9)


def test_thresholds_of_the_papers_table_1():
    assert Scales((None, 1.0)).levels == (100, 25)
    assert Scales((None, 0.5, 1.0)).levels == (100, 50, 25)
    assert Scales().levels == (100, 50, 25, 12.5)
    assert Scales((0.1, 0.2, 0.3, 0.4, 0.5)).levels == (100, 50, 25, 12.5, 6.25)


@pytest.mark.parametrize(
    "wrong",
    [
        {"factors": (0.5, None), "thresholds": (100, 50)},
        {"factors": (0.5, 0.5), "thresholds": (100, 50)},
        {"factors": (1.0, 0.5), "thresholds": (100, 50)},
        {"factors": (0.5, 1.0), "thresholds": (100, 50, 25)},
        {"factors": tuple(0.1 * i for i in range(1, 10))},
        {"factors": (0.5, 9.0), "thresholds": (100, 50)},
        {"factors": ("a", 1.0), "thresholds": (100, 50)},
        {"thresholds": (90, 50, 25, 12.5)},
        {"thresholds": (100, 25, 50, 12.5)},
        {"thresholds": (100, 50, 25, 0)},
        {"tile_relevance": 0.5},
    ],
)
def test_scales_out_of_range_are_refused_with_one_sentence(wrong):
    with pytest.raises(SettingsError, match=r"\.$") as caught:
        Scales(**wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Instances(99),
        lambda: Instances(0, 0),
        lambda: Instances(0, 1.5),
        lambda: Instances(0, 1, 2),
        lambda: Instances(0, 1, 1, 4),
        lambda: Measuring("maybe"),
        lambda: Settings("magic"),
        lambda: Settings(network="resnet"),
        lambda: Settings("cellpose-package"),
        lambda: Settings("sima:model"),
    ],
)
def test_other_settings_out_of_range_are_refused(wrong):
    with pytest.raises(SettingsError):
        wrong()


@given(
    st.lists(st.floats(0.02, 4), min_size=1, max_size=8, unique=True).map(sorted),
    st.floats(-10, 10),
    st.integers(1, 10**6),
    st.sampled_from([*LADDERS, "watershed", "cellpose-package:cyto3"]),
)
def test_json_round_trip(factors, h, area, method):
    thresholds = tuple(100 * 0.5**i for i in range(len(factors)))
    given_settings = Settings(method, Scales(tuple(factors), thresholds), Instances(h, area), Measuring("include"))
    assert Settings.from_json(given_settings.to_json()) == given_settings


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"colour": {}}', '{"scales": {"factor": [1]}}', '{"scales": 3}', '{"scales": {"tile_relevance": NaN}}'],
)
def test_unknown_or_broken_json_is_refused(text):
    with pytest.raises(SettingsError):
        Settings.from_json(text)


def test_missing_sections_take_their_defaults():
    assert Settings.from_dict(as_then({"method": "sima-plus"})).network == "cellpose"  # as all runs before the choice
    assert Settings.from_dict(as_then({"network": "folded"})).network == "folded"
    assert Settings.from_dict(as_then({"instances": {"min_area": 20}})).instances == Instances(0.0, 20, 0.25, None)
    then = Settings.from_dict(as_then({"measuring": {"only": "circularity >= 0.85"}})).measuring
    assert then == Measuring("exclude", "form_factor >= 0.85", 1)  # what is the form factor was called circularity
    assert Settings.from_dict(as_then({"measuring": {"only": "round", "convention": 2}})).measuring == Measuring(
        only="round", convention=2
    )
    assert Settings.from_json(json.dumps({"instances": {"min_area": 30}})) == Settings(instances=Instances(min_area=30))
