import numpy as np
import pytest

from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import MicrographError
from crystalseg.micrographs.pairs import write_pair
from crystalseg.record.annotations import annotations, from_folder, keep, read, remove
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from tests.micrographs.test_annotations import LABELS, area, micrograph


def test_what_was_checked_comes_back_as_it_was():
    engine = open_database()
    one = annotation(micrograph(), LABELS, area(0, 0, 30, 40))
    kept = keep(engine, one, "steel", "Correct page", "A. Kern")
    assert (kept.crystals, kept.share, kept.who) == (1, 0.25, "A. Kern")
    again = read(kept.name, kept.files)
    np.testing.assert_array_equal(again.checked, one.checked)
    np.testing.assert_array_equal(again.labels[again.checked], one.labels[one.checked])
    np.testing.assert_array_equal(again.micrograph.pixels, one.micrograph.pixels)
    assert not list(audit(engine))


def test_an_image_has_one_annotation_a_material():
    engine = open_database()
    keep(engine, annotation(micrograph(), LABELS, area(0, 0, 30, 40)), "steel", "")
    more = keep(engine, annotation(micrograph(), LABELS), "steel", "")
    keep(engine, annotation(micrograph(), LABELS), "iron", "")
    assert [(one.crystals, one.material) for one in annotations(engine)] == [(3, "steel"), (3, "iron")]
    remove(engine, more.key)
    assert [one.material for one in annotations(engine)] == ["iron"]


def test_a_material_has_a_name():
    with pytest.raises(MicrographError, match="material needs a name"):
        keep(open_database(), annotation(micrograph(), LABELS), " ", "")


def test_a_folder_is_put_on_record_once(tmp_path):
    engine = open_database()
    for name, seed in (("a", 1), ("b", 2)):
        write_pair(tmp_path, name, micrograph(seed=seed).pixels, LABELS)
    first = from_folder(engine, tmp_path, "steel")
    assert [one.name for one in first] == ["a", "b"]
    assert from_folder(engine, tmp_path, "steel") == first
    assert len(annotations(engine, "steel")) == 2
