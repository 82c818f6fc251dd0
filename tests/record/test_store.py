import hashlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalseg.record import store


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.binary(max_size=2000))
def test_what_is_put_comes_back_under_its_hash(own_home, data):
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.get(sha256) == data
    assert store.put(data) == sha256


def test_a_changed_or_missing_file_is_noticed():
    sha256 = store.put(b"labels")
    store.place(sha256).write_bytes(b"labelz")
    with pytest.raises(store.StoreError, match="was changed"):
        store.get(sha256)
    with pytest.raises(store.StoreError, match="missing"):
        store.get("f" * 64)


def test_nothing_half_written_stays_under_a_name(tmp_path, monkeypatch):
    target = tmp_path / "file"
    store.write_safely(target, b"old")

    def broken(*_):
        raise OSError("power cut")

    monkeypatch.setattr(store.os, "replace", broken)
    with pytest.raises(OSError, match="power cut"):
        store.write_safely(target, b"new")
    assert target.read_bytes() == b"old"


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write_safely(tmp_path / "a", b"abc")
    assert list(tmp_path.iterdir()) == []
