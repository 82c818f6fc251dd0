import numpy as np

from crystalseg.micrographs import examples
from crystalseg.micrographs.micrograph import Micrograph


def test_each_sample_can_be_read():
    assert examples.first().name == examples.FIRST
    assert {path.suffix for path in examples.files().values()} == {".png"}


def test_what_is_rehearsed_is_not_what_is_looked_at():
    learnt, others = examples.rehearsed(), examples.looked_at()
    assert list(learnt) == list(others) == ["pebbles", "polarised-polycrystal", "powder", "spheroidite"]
    names = [{one.micrograph.name for each in part.values() for one in each} for part in (learnt, others)]
    assert not names[0] & names[1]
    for one in (one for part in (learnt, others) for each in part.values() for one in each):
        assert isinstance(one.micrograph, Micrograph)
        assert one.checked.all()
        assert 20 <= one.crystals == len(np.unique(one.labels)) - 1


def test_every_file_has_its_source():
    sources = (examples.LABELLED / "SOURCES.md").read_text()
    for path in examples.LABELLED.rglob("*_label.png"):
        material = path.parent.parent.name
        assert f"| {material} |" in sources
        assert material == "polarised-polycrystal" or f"{path.name.removesuffix('_label.png')} " in sources
