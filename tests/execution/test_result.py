import hashlib
import pickle
from dataclasses import replace

import numpy as np

from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.result import conclude, documented, hand_out, issue_report
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import ledger, store
from crystalseg.record.anchors import anchors_in
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import Run, find, record
from crystalseg.report import handouts
from crystalseg.report.handouts import HANDOUTS, Measured
from crystalseg.report.report import Details
from crystalseg.segmentation.settings import Settings
from tests.conftest import discs

LABELS = discs((200, 240), [(50, 60, 30), (60, 160, 40), (140, 90, 35), (150, 190, 20)])
IMAGE = Micrograph(
    np.repeat(np.where(LABELS > 0, 200, 30).astype(np.uint8)[..., None], 3, axis=2),
    "discs.png",
    "ab" * 32,
    from_um_per_px(0.5, 1.0),
)
# There is no lower limit, because the U of four crystals is more than their mean.
PROFILE = Profile(
    "round", kind="discs", settings=Settings("watershed"), limits=(Limit("mean", None, 200),), decision_rule="guarded"
)


def test_an_image_goes_the_whole_road_to_a_verdict_and_onto_the_record():
    result = measure_micrograph(IMAGE, PROFILE.settings, None)
    assert result.measurement.summary.counted == 4
    unsure = documented(result, None, Details(operator="A. Kern"), PROFILE)
    validation = Validation("discs", "watershed", 3, {"mean": [0.01, -0.01, 0.0]}, PROFILE.settings.conditions)
    ready = documented(result, validation, Details(operator="A. Kern"), PROFILE, id="probe")
    # judging is a function of what it is given
    assert (unsure.run.outcome, ready.run.outcome) == ("not decidable", "pass")
    # and nothing is written before the recorder is asked to
    assert not store.place(ready.run.files["labels"]).exists()
    engine = open_database()
    assert ledger.entries(engine, "run") == []
    run = record(engine, ready.run, ready.kept, {"PDF": b"the report"})
    assert run.files["labels"] == hashlib.sha256(ready.kept["labels"]).hexdigest()
    # what is on record is complete: the run comes after its report
    assert [ledger.entries(engine, kind)[0].number for kind in ("report", "run")] == [1, 2]
    reopened = reopen(find(engine, "probe"))
    assert same_figures(run, reopened.measurement.summary)
    np.testing.assert_array_equal(reopened.labels, result.segmentation.labels)
    assert list(audit(engine)) == []


def test_all_files_of_a_run_are_there_before_it_is_on_record(tmp_path, monkeypatch):
    engine, place = open_database(), tmp_path / "out" / "discs"
    store.put(b"the image")
    image = replace(IMAGE, sha256=hashlib.sha256(b"the image").hexdigest())
    result = measure_micrograph(image, PROFILE.settings, None)
    appended, seen = ledger.append, {}

    def watched(engine, kind, *rest, **more):
        seen[kind] = {path.name for path in place.parent.glob("*")}
        return appended(engine, kind, *rest, **more)

    monkeypatch.setattr(ledger, "append", watched)
    formats = tuple(HANDOUTS)
    report = conclude(engine, result, None, Details(), PROFILE, formats=formats, place=place, id="probe")
    files = {f"discs_{row.ending}" for row in HANDOUTS.values()}
    assert seen == {"report": files, "run": files}
    # each report is issued with the record's end of that moment, and the run's file is the run on record
    forms = [row.form for row in handouts.reports()]
    assert [entry.body["form"] for entry in ledger.entries(engine, "report")] == forms
    assert {held.number for held in anchors_in((place.parent / "discs_report.pdf").read_bytes())} == {0}
    on_record = find(engine, "probe")
    assert on_record.files["image"] == image.sha256
    assert (place.parent / "discs_run.json").read_text() == on_record.to_json() == report.parts[0].run.to_json()
    assert list(audit(engine)) == []
    # concluded again, after a crash perhaps, it is the same run, also in its file
    again = conclude(engine, result, None, Details(), PROFILE, formats=("run",), place=place, id="probe")
    assert again.parts[0].run.created == on_record.created
    assert (place.parent / "discs_run.json").read_text() == on_record.to_json()


def test_a_worker_sends_all_files_as_bytes():
    result = measure_micrograph(IMAGE, PROFILE.settings, None)
    made = documented(result, None).described(tuple(HANDOUTS), None).in_memory
    assert set(made.files) == {key for key, row in HANDOUTS.items() if row.of is not Run}
    assert all(isinstance(data, bytes) for data in made.files.values())
    assert pickle.loads(pickle.dumps(made)) == made


def test_what_is_handed_out_is_issued_only_if_it_is_a_report():
    engine = open_database()
    report = conclude(engine, measure_micrograph(IMAGE, PROFILE.settings, None), None, Details(operator="A. Kern"))
    measured, asked = Measured.of(report.parts[0]), []

    def on_record():
        asked.append(1)
        return report

    for key, row in HANDOUTS.items():
        before, asked[:] = ledger.end(engine), []
        assert hand_out(engine, row, measured, on_record, "B. Lang")
        assert bool(asked) == (row.of is not Measured), key
        assert (ledger.end(engine) != before) == bool(row.form), key
    assert {entry.who for entry in ledger.entries(engine, "report")} == {"B. Lang"}
    issue_report(engine, HANDOUTS["html"], report)
    assert ledger.entries(engine, "report")[-1].who == "A. Kern"
