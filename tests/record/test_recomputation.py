"""Runs computed again from the record alone, on the shipped weights."""

from dataclasses import replace

import numpy as np
import pytest

from crystalseg.errors import UserError
from crystalseg.measurement.crystals import measure_crystals
from crystalseg.measurement.distribution import summarise
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.record import store
from crystalseg.record.corrections import correction_log, log_correction
from crystalseg.record.database import open_database
from crystalseg.record.recomputation import recompute
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.results import load_segmentation, save_segmentation
from crystalseg.record.runs import describe, labels_file, record
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.corrections.history import history_of
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import png


@pytest.fixture(scope="module")
def models():
    return load_models()


def on_record(micrograph, found, history=None, **more):
    labels, confidence, marks, log = found.labels, found.confidence, {}, ()
    if history:
        labels, confidence, marks, log = history.labels, history.confidence, history.marks, history.log
    crystals = measure_crystals(labels, micrograph.um_per_px, confidence, marks)
    summary = summarise(crystals, micrograph.shape, "exclude")
    corrected = replace(found, labels=labels, confidence=confidence)
    kept = {"labels": labels_file(labels, confidence)}
    run = describe(micrograph, corrected, summary, kept, [c.to_dict() for c in log], marks, **more)
    return record(open_database(), run, kept)


def test_a_run_corrected_in_the_app_is_computed_again_to_the_last_digit(models, tmp_path):
    data = png(draw(8, (200, 220), Structure("powder", diameter=35)).image)
    store.put(data)
    micrograph = replace(read_micrograph(data, "probe.png"), calibration=from_um_per_px(0.5)).crop(10, 0, 200, 210)
    engine = open_database()
    plain = segment(micrograph, Settings(), models)
    first = on_record(micrograph, plain, id="job1", job="job1")
    # as the app: maps kept at half precision, other thresholds from these, then corrections with an undo among them
    save_segmentation(tmp_path / "s.npz", plain)
    choice = Instances(foreground_threshold=0.6, min_confidence=0.4)
    found = rethreshold(load_segmentation(tmp_path / "s.npz"), micrograph.pixels, choice, models.judge(Settings()))
    assert found.labels.max() > 4
    y, x = np.argwhere(found.labels == 4).mean(axis=0).tolist()
    middle = (y, x)
    for entry in (
        Correction("delete", (2,)).to_dict(),
        {"kind": "undo"},
        Correction("mark", (1,), mark="pore").to_dict(),
        Correction("delete", (4,)).to_dict(),
        Correction("add", (), (middle,)).to_dict(),
    ):
        log_correction(engine, "job1", choice, entry, "A. Kern")
    log = [one.entry for one in correction_log(engine, "job1", choice)]
    history = history_of(found, micrograph.pixels, log)
    second = on_record(micrograph, found, history, id="second", job="job1")
    log_correction(engine, "job1", choice, Correction("delete", (3,)).to_dict(), "A. Kern")  # later
    for run in (first, second):
        reopened = reopen(run)
        assert same_figures(run, recompute(engine, reopened, models))
    assert first.figures != second.figures
    with pytest.raises(UserError, match="other weights"):
        recompute(engine, reopen(first), replace(models, hashes={}))
    with pytest.raises(UserError, match="not kept"):
        recompute(engine, reopen(first, with_image=False), models)
