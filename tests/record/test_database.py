import pytest

from crystalseg.record.database import RecordError, open_database


@pytest.mark.parametrize("damage", [b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 4000], ids=["text", "torn"])
def test_a_damaged_database_is_named_in_a_sentence(tmp_path, damage):
    file = tmp_path / "record.sqlite"
    file.write_bytes(damage)
    with pytest.raises(RecordError, match=r"damaged. Restore it from a back-up|reports an error"):
        open_database(f"sqlite:///{file}")
    assert file.read_bytes() == damage


def test_a_folder_that_cannot_be_opened_is_named_in_a_sentence(tmp_path):
    with pytest.raises(RecordError, match=r"cannot be opened\. Check the permissions"):
        open_database(f"sqlite:///{tmp_path / 'none' / 'record.sqlite'}")
