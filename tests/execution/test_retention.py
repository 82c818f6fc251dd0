import datetime
import hashlib
import io
import os
import zipfile
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from distributed import LocalCluster

from crystalseg.execution import batch_run, mosaic_run, work, work_state
from crystalseg.execution.corrected import put_on_record, reopen_corrected
from crystalseg.execution.kinds import batch, lesson, mosaic, series
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.queue import Queue
from crystalseg.execution.retention import expired, retain
from crystalseg.execution.worker import run_job
from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.record import annotations, ledger, profiles, store
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen, same_figures, whole_image
from crystalseg.record.runs import find, recorded
from crystalseg.segmentation.settings import Measuring, Settings
from tests.conftest import discs, keep, png
from tests.record.test_runs import measured

NOW = datetime.datetime.now(datetime.UTC)
SHORT = Profile("short", settings=Settings("watershed"), keep_images=10)  # needs no network


def after(days):
    return NOW + datetime.timedelta(days=days)


@pytest.fixture
def engine():
    engine = open_database()
    profiles.save(engine, SHORT)
    profiles.save(engine, Profile("long", keep_images=100))
    return engine


@pytest.fixture(scope="module")
def address():
    """Of workers that are there already: to start processes would take longer than all the rest."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def drawn(seed):
    rng = np.random.default_rng(seed)
    circles = [(25 + 45 * r, 25 + 45 * c, rng.uniform(9, 18)) for r in range(3) for c in range(3)]
    shown = np.where(discs((140, 140), circles) > 0, 200, 40) + rng.integers(0, 9, (140, 140))
    return shown.astype(np.uint8)


def uploaded(kind, **files):
    """A folder for work of that kind, with what a page copies into it."""
    folder = work.new_folder(kind)
    (folder / work.UPLOADS).mkdir()
    for name, data in files.items():
        (folder / work.UPLOADS / name.replace("_", ".")).write_bytes(data)
    return folder, folder / work.UPLOADS


def in_the_app(engine, address):
    """Measured by the worker, which names no profile; then reported with one."""
    data = png(drawn(1))
    store.put(data)
    queue = Queue()
    queue.start_workers = lambda: None
    micrograph = read_micrograph(data, "a.png")
    job = queue.submit(micrograph, SHORT.settings)
    queue.submit(micrograph, SHORT.settings, "failed")  # never done
    queue.set("failed", status="failed")
    queue.take(0)
    run_job(
        queue, job, None, lambda micrograph, settings, _, told: measure_micrograph(micrograph, settings, None, told)
    )
    assert queue.job(job).status == "done"
    found = reopen_corrected(engine, job, queue.result(job)[1], micrograph)
    put_on_record(found, micrograph, Measuring(), None, profile=SHORT)
    return [data]


def in_a_batch(engine, address):
    images = [png(drawn(seed)) for seed in (1, 2, 3)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("b.png", images[1])
        archive.writestr("c.png", images[2])
        archive.writestr("broken.png", images[2][:200])
    folder, source = uploaded("batch", a_png=images[0], more_zip=packed.getvalue())
    batch.prepare(folder, source, SHORT, formats=("pdf", "image-ome"))
    batch_run.run(folder, engine, 1, address)
    return images


def in_a_mosaic(engine, address):
    data = io.BytesIO()
    tifffile.imwrite(data, drawn(1), tile=(64, 64))
    folder, source = uploaded("mosaic", large_tif=data.getvalue())
    mosaic.prepare(folder, source / "large.tif", SHORT)
    mosaic_run.run(folder, engine)
    return [data.getvalue()]


def in_a_mosaic_of_release_0_1(engine, address):
    """Which had its upload beside its results."""
    folder = work.new_folder("mosaic")
    tifffile.imwrite(folder / "large.tif", drawn(1), tile=(64, 64))
    mosaic.prepare(folder, folder / "large.tif", SHORT)
    mosaic_run.run(folder, engine)
    return [(folder / "large.tif").read_bytes()]


def in_a_series(engine, address):
    data = io.BytesIO()
    tifffile.imwrite(data, np.stack([drawn(1), drawn(1)]), photometric="minisblack")
    folder, source = uploaded("series", hot_tif=data.getvalue())
    series.prepare(folder, source / "hot.tif", SHORT)
    series.run(folder, engine, 1, address)
    series.write(folder, engine)
    return [data.getvalue(), *(file.read_bytes() for file in (folder / series.FRAMES).iterdir())]


def in_a_lesson(engine, address):
    """What was corrected of an image is taught: the record has a copy of the image for that."""
    (data,) = in_the_app(engine, address)
    run = recorded(engine)[-1]
    one = annotation(read_micrograph(data, "a.png"), reopen(run).labels)
    kept = annotations.keep(engine, one, "powder", f"run {run.job}, corrected")
    lesson.prepare(engine, "powder", "powder", [kept])
    return [data]


@pytest.mark.parametrize(
    "measured_in",
    [in_the_app, in_a_batch, in_a_mosaic, in_a_mosaic_of_release_0_1, in_a_series, in_a_lesson],
)
def test_of_an_image_no_byte_is_left_and_all_else_stays(engine, address, measured_in):
    images = measured_in(engine, address)
    assert traces(images)
    runs, before = recorded(engine), {path for path in store.home().rglob("*") if path.is_file()}
    assert expired(engine, after(9)) == []
    listed = expired(engine, after(11))
    gone = retain(engine, after(11), "A. Kern")
    assert [one.paths for one in gone] == [one.paths for one in listed]
    assert not [one.problem for one in gone if one.problem]
    assert traces(images) == []
    # what it says it deleted is what it deleted, and what the record says
    left = {path for path in store.home().rglob("*") if path.is_file()}
    said = {path for one in gone for path in one.paths}
    assert {path for path in before - left if not said & {path, *path.parents}} == set()
    assert not [path for path in said if path.exists()]
    entries = ledger.entries(engine, "deletion")
    assert {store.home() / what for entry in entries for what in entry.body["what"]} == said
    # labels, figures and reports stay
    assert list(audit(engine)) == []
    for run in runs:
        kept = reopen(find(engine, run.id), with_image=False)
        assert same_figures(run, kept.measurement.summary)
        with pytest.raises(store.StoreError, match=r"missing|not kept"):
            whole_image(run)
    assert {path.name for path in before - left} & {"state.json", "summary.csv", "tracks.csv"} == set()
    assert not [path for path in before - left if path.name.endswith((".pdf", ".csv", "labels.ome.tif"))]
    assert retain(engine, after(12)) == []
    # what is left is still opened
    for one in work.works():
        assert one.state(engine).status in ("done", "waiting")
    assert annotations.annotations(engine) == []


def traces(images):
    """Files below the home folder that are one of these images or hold one's pixels, by content."""
    hashes = {hashlib.sha256(data).hexdigest() for data in images}
    pixels = {hashlib.sha256(shown).hexdigest() for data in images for shown in pictures(data)}
    found = []
    for path in store.home().rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() in hashes or any(
                hashlib.sha256(shown).hexdigest() in pixels for shown in pictures(data)
            ):
                found.append(path)
    return found


def pictures(data):
    """The gray pixels (h, w) of all images in the bytes of a file, however they are packed."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                inner = archive.read(name)
                if name.endswith(".npy"):
                    shown = np.load(io.BytesIO(inner), allow_pickle=False)
                    yield from grays(shown)
                else:
                    yield from pictures(inner)
    elif data[:4] in (b"II*\0", b"MM\0*", b"II+\0"):
        with tifffile.TiffFile(io.BytesIO(data)) as tif:
            for page in tif.pages:
                yield from grays(page.asarray())
    elif data and (shown := cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)) is not None:
        yield from grays(shown)


def grays(shown):
    if shown.dtype == np.uint8 and shown.ndim in (2, 3):
        yield np.ascontiguousarray(shown if shown.ndim == 2 else shown[..., 0]).tobytes()


def test_an_image_goes_when_no_run_needs_it_and_the_audit_knows(engine):
    image, other = store.put(b"an image"), store.put(b"another")
    first = replace(measured(), profile="short", image_sha256=image, job="job1")
    second = replace(measured(), profile="long", image_sha256=image)
    endless = replace(measured(), image_sha256=other)
    for run in (first, second, endless):
        keep(engine, run)
    maps = store.home() / "jobs" / "job1"
    maps.mkdir(parents=True)
    (maps / "labels.npz").write_bytes(b"pixels")
    assert expired(engine, after(11)) == []  # the second run needs it still
    assert [one.subject for one in expired(engine, after(101))] == [image]
    assert [one.name for one in retain(engine, after(101), "A. Kern")] == [first.image_name]
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


def test_what_is_measured_again_after_a_deletion_is_needed_again(engine):
    image = store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image))
    retain(engine, after(11))
    store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image))
    assert list(audit(engine)) == []
    store.place(image).unlink()  # by hand
    (problem,) = audit(engine)
    assert "missing" in problem


@pytest.mark.parametrize(
    ("runs", "over"),
    [
        # profile, job, id
        ([("", "j", "j")], False),  # of the worker, never reported
        ([("", "j", "j"), ("short", "j", "r")], True),
        ([("", "j", "j"), ("short", "j", "r"), ("", "k", "k")], True),  # another method, only looked at
        ([("", "j", "j"), ("short", "j", "r"), ("", "j", "s")], False),  # reported without a profile, too
        ([("", "", "c"), ("short", "", "d")], False),  # the command line without a profile
        ([("short", "", "c"), ("long", "", "d")], False),
        ([("short", "", "c"), ("gone", "", "d")], False),
    ],
)
def test_which_runs_keep_an_image(engine, runs, over):
    image = store.put(b"an image")
    for profile, job, name in runs:
        keep(engine, replace(measured(), profile=profile, job=job, id=name, image_sha256=image))
    assert bool(expired(engine, after(11))) is over


def test_work_that_is_not_finished_keeps_its_images_until_it_was_left_alone_as_long(engine):
    data = png(drawn(1))
    folder, source = uploaded("batch", a_png=data, b_png=png(drawn(2)))
    made = batch.prepare(folder, source, SHORT)
    image = store.put(data)
    keep(engine, replace(measured(), profile="short", id=made.run_id(0), image_sha256=image))
    with work_state.working(folder):
        assert expired(engine, after(11)) == []
    work_state.ask(folder, "paused")
    with work_state.working(folder) as reporter:
        reporter.check()
    assert {path.name for one in expired(engine, after(11)) for path in one.paths} == {image, "a.png", "b.png"}
    later = after(5).timestamp()
    for file in folder.iterdir():
        if file.is_file():
            os.utime(file, (later, later))
    assert expired(engine, after(11)) == []


def test_a_mosaic_that_was_left_alone_loses_its_upload_and_what_its_windows_saw(engine):
    folder, source = uploaded("mosaic", large_tif=b"an image")
    made = mosaic.prepare(folder, source / "large.tif", SHORT)
    (folder / mosaic.WINDOWS).mkdir()
    (folder / mosaic.WINDOWS / "scale0_band0.npz").write_bytes(b"parts of it")
    assert expired(engine, after(9)) == []
    (one,) = retain(engine, after(11))
    assert (one.subject, {path.name for path in one.paths}) == (made.id, {"large.tif", "scale0_band0.npz"})
    assert not any(path.exists() for path in one.paths)
    assert list(audit(engine)) == []


def test_what_cannot_be_deleted_is_not_said_to_be(engine, monkeypatch):
    image = store.put(b"an image")
    keep(engine, replace(measured(), profile="short", image_sha256=image))

    def refused(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.unlink", refused)
        (one,) = retain(engine, after(11))
    assert "cannot be deleted (Permission denied)" in one.problem
    (again,) = retain(engine, after(11))
    assert again.problem == ""
    assert len(ledger.entries(engine, "deletion")) == 1


def test_what_was_uploaded_for_work_that_never_began_is_cleared(engine):
    folder, _ = uploaded("batch", a_png=png(drawn(1)))
    assert expired(engine, after(0.5)) == []
    (one,) = retain(engine, after(2))
    assert one.paths == (folder,)
    assert not folder.exists()
