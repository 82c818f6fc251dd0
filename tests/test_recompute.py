"""Runs computed again from the record alone, on the shipped weights."""

from dataclasses import replace

import pytest

from crystalseg import store
from crystalseg.baselines import again, segment
from crystalseg.calibration import from_um_per_px
from crystalseg.correct import Correction, history_of
from crystalseg.jobs import load_segmentation, save_segmentation
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.distribution import summarise
from crystalseg.micrograph import read_micrograph
from crystalseg.pipeline import load_models
from crystalseg.recompute import recompute
from crystalseg.runs import correction_log, describe, log_correction, open_database, record, reopen, same_figures
from crystalseg.settings import Instances, Settings
from crystalseg.synth import Structure, draw
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
    made = replace(found, labels=labels, confidence=confidence)
    run = describe(micrograph, made, summary, [c.to_dict() for c in log], marks, **more)
    record(open_database(), run)
    return run


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
    found = again(load_segmentation(tmp_path / "s.npz"), micrograph.pixels, choice, models.confidence)
    assert found.labels.max() > 4
    for entry in (
        Correction("delete", (2,)).to_dict(), {"kind": "undo"}, Correction("mark", (1,), mark="pore").to_dict(),
        Correction("add", (), ((95.0, 100.0),)).to_dict(), Correction("delete", (4,)).to_dict(),
    ):  # fmt: skip
        log_correction(engine, "job1", choice.name, entry, "A. Kern")
    log = [entry for _, entry in correction_log(engine, "job1", choice.name)]
    history = history_of(found, micrograph.pixels, log)
    second = on_record(micrograph, found, history, id="second", job="job1")
    log_correction(engine, "job1", choice.name, Correction("delete", (3,)).to_dict(), "A. Kern")  # later
    for run in (first, second):
        reopened = reopen(run)
        assert same_figures(replace(reopened, summary=recompute(engine, reopened, models)))
    assert first.figures != second.figures
    with pytest.raises(ValueError, match="other networks"):
        recompute(engine, reopen(first), replace(models, hashes={}))
    with pytest.raises(ValueError, match="not kept"):
        recompute(engine, reopen(first, with_image=False), models)
