import datetime
from dataclasses import replace

import pytest

from crystalseg.execution.retention import expired, retain
from crystalseg.record import ledger, profiles, store
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen, same_figures, whole_image
from crystalseg.record.runs import find
from tests.conftest import keep
from tests.record.test_runs import measured

NOW = datetime.datetime.now(datetime.UTC)


def after(days):
    return NOW + datetime.timedelta(days=days)


def test_an_image_goes_when_no_run_needs_it_and_the_audit_knows():
    engine = open_database()
    profiles.save(engine, Profile("short", keep_images=10))
    profiles.save(engine, Profile("long", keep_images=100))
    image, other = store.put(b"an image"), store.put(b"another")
    first = replace(measured(), profile="short", image_sha256=image, job="job1")
    second = replace(measured(), profile="long", image_sha256=image)
    endless = replace(measured(), image_sha256=other)
    for run in (first, second, endless):
        keep(engine, run)
    maps = store.home() / "jobs" / "job1"
    maps.mkdir(parents=True)
    (maps / "micrograph.npz").write_bytes(b"pixels")
    assert expired(engine, after(11)) == {}  # the second run needs it still
    assert list(expired(engine, after(101))) == [image]
    assert retain(engine, after(101), "A. Kern") == [first.image_name]
    assert not store.place(image).exists()
    assert not maps.exists()
    assert store.place(other).exists()
    (entry,) = ledger.entries(engine, "deletion")
    assert (entry.subject, entry.who, entry.body["runs"]) == (image, "A. Kern", [first.id, second.id])
    assert list(audit(engine)) == []
    run = find(engine, first.id)
    assert same_figures(run, reopen(run, with_image=False).measurement.summary)
    with pytest.raises(store.StoreError, match="missing"):
        whole_image(run)
    assert retain(engine, after(102)) == []


def test_what_is_measured_again_after_a_deletion_is_needed_again():
    engine = open_database()
    profiles.save(engine, Profile("short", keep_images=10))
    image = store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image))
    retain(engine, after(11))
    store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image))
    assert list(audit(engine)) == []
    store.place(image).unlink()  # by hand
    (problem,) = audit(engine)
    assert "missing" in problem
