import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from crystalseg.errors import UserError
from crystalseg.execution import mosaic_run, work_state
from crystalseg.execution.cluster import ClusterError, OnCluster, connected
from crystalseg.execution.kinds import mosaic
from crystalseg.execution.work_state import WorkError
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.pyramids import PyramidFile
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import find
from crystalseg.segmentation import mosaic as in_windows
from crystalseg.segmentation.progress import Clock
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Settings
from crystalseg.segmentation.sima_plus import run as whole_run
from tests.conftest import discs

QUICK = Profile("quick", settings=Settings(scales=Scales((0.25, 0.5))))
LABELS = discs((400, 440), [(50 + 100 * r, 55 + 110 * c, 30 + 3 * r) for r in range(4) for c in range(4)])


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file that counts as a mosaic."""
    monkeypatch.setattr(in_windows, "WHOLE", 1000)
    pixels = cv2.GaussianBlur(np.where(LABELS > 0, 190, 60).astype(np.uint8), (5, 5), 0)
    path = tmp_path / "mosaic.tif"
    tifffile.imwrite(path, pixels, tile=(128, 128), resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    return path


@pytest.fixture
def engine():
    return open_database()


def test_a_mosaic_is_paused_goes_on_and_leaves_all_files(source, tmp_path, engine):
    out = tmp_path / "out"
    begun = mosaic.prepare(out, source, QUICK)
    assert work_state.state_of(out).status == "waiting"

    def pause(progress):
        if progress.stage == "scale 0.5":
            work_state.ask(out, "paused")

    assert mosaic_run.run(out, engine, report=pause) is None
    assert work_state.state_of(out).status == "paused"
    assert (out / "windows" / "scale0_band0.npz").exists()
    work_state.ask(out, "")
    stages = []
    run = mosaic_run.run(out, engine, report=lambda p: stages.append(p.stage))
    assert "scale 0.25" not in stages
    now = work_state.state_of(out)
    assert (now.status, now.share) == ("done", 1.0)
    assert not (out / "windows").exists()
    assert run.id == begun.id
    assert run.factors == [0.25, 0.5]
    assert run.um_per_px == 0.5
    # on record with its image, and measured again from there
    assert run.files["image"] == mosaic.load(out).sha256
    reopened = reopen(find(engine, run.id))
    assert same_figures(run, reopened.measurement.summary)
    assert list(audit(engine)) == []
    # files
    labels = PyramidFile(out / "mosaic_labels.ome.tif")
    assert (labels.read((0, 0, *labels.shape), 10_000)[0] == reopened.labels).all()
    assert PyramidFile(out / "mosaic_image.ome.tif").shape == LABELS.shape
    crystals = pd.read_csv(out / "mosaic_crystals.csv")
    assert len(crystals) == len(pd.read_parquet(out / "mosaic_crystals.parquet")) == reopened.labels.max() >= 12
    assert (out / "mosaic_report.pdf").read_bytes().startswith(b"%PDF")
    assert json.loads((out / "mosaic_run.json").read_text())["id"] == run.id


def test_what_was_found_is_the_same_from_the_disk(source, tmp_path, models):
    pixels = tifffile.imread(source)[..., None].repeat(3, axis=2)
    kept, stored = in_windows.InMemory(), mosaic_run.KeptInFolder(tmp_path / "kept")
    for each in (kept, stored):
        in_windows.run(Pyramid(models, pixels), QUICK.settings, Clock(), lambda _: None, kept=each)
    for scale in (0, 1):
        assert kept.bands(scale) == stored.bands(scale) == 1
        (ours,), (theirs,) = kept.get(scale, 0), stored.get(scale, 0)
        assert (ours.masks.painted() == theirs.masks.painted()).all()
        assert (ours.seen == theirs.seen).all()
        assert (ours.figures == theirs.figures).all()
        assert (ours.quality == theirs.quality).all()
    assert stored.bands(2) == 0


def test_workers_find_the_same_also_when_one_dies(source, models):
    """What workers of a cluster make is what one process makes, to the last bit, and one that dies is replaced."""
    pixels = tifffile.imread(source)[..., None].repeat(3, axis=2)
    settings = QUICK.settings
    alone = whole_run(Pyramid(models, pixels), settings, Clock(), lambda _: None)
    with connected(2, None) as client:
        compute, killed = OnCluster(client, settings.network, 1), []

        def kill(progress):
            if progress.stage == "scale 0.5" and progress.done and not killed:
                nanny = next(iter(client.cluster.workers.values()))
                killed.append(nanny.pid)
                nanny.process.process.kill()

        found = in_windows.run(Pyramid(models, pixels), settings, Clock(), kill, compute)
    assert killed
    np.testing.assert_array_equal(found.labels, alone.labels)
    np.testing.assert_array_equal(found.confidence, alone.confidence)


def test_bad_news_is_one_sentence_and_nothing_is_lost(source, tmp_path, engine, monkeypatch):
    out = tmp_path / "out"
    with pytest.raises(WorkError, match="There is no mosaic in"):
        mosaic.load(out)
    mosaic.prepare(out, source, QUICK)
    with pytest.raises(WorkError, match="begun with another pixel size"):
        mosaic.prepare(out, source, QUICK, from_um_per_px(0.3))
    with pytest.raises(ClusterError, match="No Dask scheduler answers"):
        mosaic_run.run(out, engine, scheduler="tcp://127.0.0.1:1")
    assert work_state.state_of(out).status == "failed"
    assert "No Dask scheduler" in work_state.state_of(out).error
    with work_state.locked(out), pytest.raises(WorkError, match="is already running"):
        mosaic_run.run(out, engine)
    with monkeypatch.context() as patch:
        patch.setattr(mosaic_run.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
        with pytest.raises(WorkError, match="GiB on the disk of"):
            mosaic_run.run(out, engine)
    begun = mosaic.load(out)
    assert begun.weights
    with monkeypatch.context() as patch:
        patch.setattr(mosaic_run, "_check_disk", lambda *_: None)
        patch.setattr("crystalseg.segmentation.models.Models.used_by", lambda *_: ({"folded": "of others"}, {}))
        with pytest.raises(WorkError, match="begun with other weights"):
            mosaic_run.run(out, engine)
    tifffile.imwrite(source, 255 - tifffile.imread(source))
    with pytest.raises(WorkError, match="has changed since"):
        mosaic_run.run(out, engine)
    source.unlink()
    with pytest.raises(UserError, match="cannot be opened"):
        mosaic_run.run(out, engine)
    assert work_state.state_of(out).error.startswith("mosaic.tif: cannot be opened")


def test_a_process_that_was_killed_left_a_paused_mosaic(source, tmp_path):
    out = tmp_path / "out"
    mosaic.prepare(out, source, QUICK)
    (out / "state.json").write_text(json.dumps({"state": "running", "stage": "scale 1", "share": 0.4}))
    assert work_state.state_of(out).status == "paused"
    with work_state.locked(out):
        assert work_state.state_of(out).status == "running"


def test_a_cluster_without_workers_is_not_waited_for_forever(monkeypatch):
    from distributed import Client, LocalCluster

    monkeypatch.setattr("crystalseg.execution.cluster.PATIENCE", 1.0)
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster, Client(cluster) as client:
        tiles = OnCluster(client, "folded").tiles([np.zeros((1, 3, 64, 64), np.float32)])
        with pytest.raises(ClusterError, match=r"All workers of the cluster have died\. What they did is kept"):
            list(tiles)
