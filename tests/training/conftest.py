import pytest

from crystalseg.micrographs.pairs import write_pair
from tests.training.training_cases import DRAWN


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "material" / "train"
    place.mkdir(parents=True)
    write_pair(place, "one", DRAWN.image, DRAWN.labels)
    return place
