import hashlib

import numpy as np

from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.result import documented
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import ledger, store
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.record.reopening import reopen, same_figures
from crystalseg.record.runs import find, record
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
PROFILE = Profile("round", kind="discs", settings=Settings("watershed"), limits=(Limit("mean", 10, 60),))


def test_an_image_goes_the_whole_road_to_a_verdict_and_onto_the_record():
    result = measure_micrograph(IMAGE, PROFILE.settings, None)
    assert result.measurement.summary.counted == 4
    unsure = documented(result, None, Details(operator="A. Kern"), PROFILE)
    validation = Validation("discs", "watershed", 3, {"mean": [0.01, -0.01, 0.0]}, PROFILE.settings.thresholds)
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
