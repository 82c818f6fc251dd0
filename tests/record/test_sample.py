"""Which runs can be fields of one sample."""

from dataclasses import asdict

import pytest

from crystalseg.record.sample import of_different_places, why_not
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from tests.record.test_runs import run


def field(name, settings=None, **more):
    facts = {"hashes": {"folded": "a" * 64}, "settings": asdict(settings or Settings()), "region": None}
    return run(name, **{"image_sha256": name} | facts | more)


def test_other_images_measured_alike_are_fields_of_one_sample():
    runs = [field("a"), field("b"), field("c", Settings(instances=Instances(min_area=40)))]
    assert why_not(runs) == ""
    assert of_different_places(runs) == runs


def test_pixels_that_were_measured_do_not_count_again():
    left, right, middle = ((0, 0, 100, 50), (0, 50, 100, 100), (40, 40, 60, 60))
    runs = [field("a", region=left), field("a", region=right), field("a", region=middle), field("b", region=middle)]
    assert of_different_places(runs) == [runs[0], runs[1], runs[3]]
    assert of_different_places([runs[0], field("a")]) == [runs[0]]
    assert why_not(runs[:2]) == ""
    assert runs[2].id in why_not(runs)
    assert "would count twice" in why_not(runs)


def test_images_that_came_from_no_file_are_not_taken_for_one():
    runs = [field("a", image_sha256=""), field("b", image_sha256="")]
    assert of_different_places(runs) == runs


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"settings": Settings("watershed")}, "different methods (sima-plus@folded; watershed)"),
        ({"settings": Settings(effort="quick")}, "sima-plus@folded/quick"),
        ({"settings": Settings(measuring=Measuring(convention=1))}, "conventions for boundaries and shapes (3; 1)"),
        ({"hashes": {"folded": "b" * 64}}, "different weights (folded aaaaaaaaaaaa; folded bbbbbbbbbbbb)"),
        (
            {"versions": {"model sam": "sam, SHA-256 12"}},
            "model versions (; model sam sam, SHA-256 12)",
        ),
        ({"settings": Settings(measuring=Measuring("include"))}, "different border rules (exclude; include)"),
        ({"settings": Settings(measuring=Measuring(only="round"))}, "different selections of crystals (all; "),
        ({"calibration": None}, "different units (µm; px"),
    ],
)
def test_runs_measured_otherwise_are_not_counted_together(other, words):
    said = why_not([field("a"), field("b"), field("c", **other)])
    assert said.startswith("a and c have different")
    assert words in said
    assert "report them separately" in said
