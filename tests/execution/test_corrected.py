"""Corrections by hand: what is in force is on record, whatever the record does."""

import random
import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalseg.execution import corrected as module
from crystalseg.execution.corrected import corrected_elsewhere, put_on_record, reopen_corrected
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import ledger
from crystalseg.record.database import RecordError, open_database
from crystalseg.record.ledger import StaleError
from crystalseg.segmentation.corrections.correction import Correction, CorrectionError
from crystalseg.segmentation.fusion import no_maps
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from tests.conftest import discs, with_pragma

LABELS = discs((80, 90), [(18, 18, 12), (18, 60, 15), (55, 22, 14), (55, 65, 18)])
IMAGE = Micrograph(np.repeat(np.where(LABELS > 0, 200, 30).astype(np.uint8)[..., None], 3, 2), "discs.png", "ab" * 32)
NUMBERS = st.integers(1, 6)
SQUARE = st.builds(lambda y, x, s: ((y, x), (y, x + s), (y + s, x + s), (y + s, x)), *3 * [st.integers(5, 40)])
CORRECTIONS = st.one_of(
    st.builds(lambda n: Correction("delete", (n,), who="A. Kern"), NUMBERS),
    st.builds(lambda n, mark: Correction("mark", (n,), mark=mark), NUMBERS, st.sampled_from(["pore", "crystal"])),
    st.builds(lambda n: Correction("accept", (n,)), NUMBERS),
    st.builds(lambda one, other: Correction("merge", (one, other)), NUMBERS, NUMBERS),
    st.builds(lambda n, points: Correction("redraw", (n,), points), NUMBERS, SQUARE),
    st.builds(lambda points: Correction("redraw", (), points), SQUARE),
    st.sampled_from(["undo", "redo"]),
)
# What the record does with an entry: takes it, refuses it, or takes it and breaks before it says so.
RECORD = st.sampled_from(["takes", "takes", "refuses", "breaks"])
JOBS = iter(range(10**6))


def segmentation(instances=None):
    own = Settings(instances=instances or Instances())
    return Segmentation(LABELS, np.full(4, 0.5, np.float32), no_maps(LABELS.shape), (), None, own)


def opened(engine, job, instances=None):
    return reopen_corrected(engine, job, segmentation(instances), IMAGE)


def assert_as_on_record(corrected):
    again = opened(corrected.engine, corrected.job, corrected.choice)
    np.testing.assert_array_equal(corrected.history.labels, again.history.labels)
    np.testing.assert_array_equal(corrected.history.confidence, again.history.confidence)
    assert corrected.history.marks == again.history.marks
    assert corrected.history.log == again.history.log
    assert (corrected.entries, corrected.last, corrected.version) == (again.entries, again.last, again.version)
    order = {"by": "id", "ignore_index": True}
    one, other = (of.table(None).sort_values(**order) for of in (corrected, again))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(CORRECTIONS, RECORD), max_size=12))
def test_what_is_in_force_is_what_the_record_gives(steps):
    engine = open_database()
    corrected = opened(engine, f"job{next(JOBS)}")
    real = module.log_correction
    for asked, record in steps:
        before, version = corrected.history.labels.copy(), corrected.version

        def log(*given, record=record):
            if record != "refuses":
                number = real(*given)
            if record != "takes":
                raise RecordError("The record cannot be written.")
            return number

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "log_correction", log)
            corrected.table(None)
            try:
                corrected.do(asked)
            except (CorrectionError, RecordError) as error:
                if isinstance(error, CorrectionError) or record == "refuses":
                    assert corrected.version == version
                    np.testing.assert_array_equal(corrected.history.labels, before)
        assert_as_on_record(corrected)


def test_a_record_that_cannot_be_written_leaves_all_as_it_was():
    engine = open_database()
    corrected = opened(engine, "job")
    corrected.do(Correction("delete", (1,), who="A. Kern"))
    with_pragma(engine, "query_only = 1")
    for asked in (Correction("delete", (2,)), "undo"):
        with pytest.raises(RecordError, match="cannot be written"):
            corrected.do(asked)
    assert [c.ids for c in corrected.history.log] == [(1,)]
    assert_as_on_record(corrected)


def test_undo_and_redo_are_on_record_with_who_asked():
    engine = open_database()
    corrected = opened(engine, "job")
    corrected.do(Correction("delete", (1,), who="A. Kern"))
    corrected.do("undo", "B. Lang")
    assert [e.who for e in ledger.entries(engine, "correction")] == ["A. Kern", "B. Lang"]


def test_what_was_handed_out_stays_as_it_was():
    corrected = opened(open_database(), "job")
    held = corrected.segmentation()
    corrected.do(Correction("delete", (1,)))
    np.testing.assert_array_equal(held.labels, LABELS)
    assert len(held.confidence) == 4


def test_who_corrects_what_somebody_else_has_just_corrected_is_told():
    """Two processes with the same job open."""
    engine = open_database()
    one, other = opened(engine, "job"), opened(engine, "job")
    one.do(Correction("delete", (1,)))
    with pytest.raises(CorrectionError, match="Somebody else has just corrected this image"):
        other.do("undo")
    assert_as_on_record(other)
    other.do("undo")
    assert_as_on_record(other)


def test_nothing_is_written_on_what_was_not_seen():
    """The other process writes between look and entry."""
    engine = open_database()
    one, other = opened(engine, "job"), opened(engine, "job")
    prepare = one.history.prepare

    def late(asked):
        one.history.prepare = prepare
        other.do(Correction("delete", (1,)))
        return prepare(asked)

    one.history.prepare = late
    with pytest.raises(CorrectionError, match="Somebody else"):
        one.do(Correction("delete", (1,)))
    assert len(ledger.entries(engine, "correction")) == 1
    assert_as_on_record(one)
    with pytest.raises(StaleError):
        ledger.append(engine, "correction", "job", {}, after=0)


def test_threads_and_processes_agree_with_the_record_and_so_do_reports_made_meanwhile():
    engine = open_database()
    shared, elsewhere = opened(engine, "job"), opened(engine, "job")
    faults, reports = [], []

    def work(corrected, seed):
        draw = random.Random(seed)
        for _ in range(8):
            number = draw.randint(1, 4)
            asked = draw.choice(["undo", "redo", Correction("mark", (number,), mark=draw.choice(["pore", "crystal"]))])
            try:
                corrected.do(asked)
                corrected.table(None)
            except CorrectionError:
                pass
            except Exception as error:
                faults.append(error)

    def report():
        for _ in range(3):
            reports.append(put_on_record(shared, IMAGE, Measuring(), None))

    threads = [threading.Thread(target=work, args=(c, k)) for k, c in enumerate((shared, shared, elsewhere))]
    threads.append(threading.Thread(target=report))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    for corrected in (shared, elsewhere):
        corrected._caught_up()
        assert_as_on_record(corrected)
    on_record = [e.body["entry"] for e in ledger.entries(engine, "correction", "job")]
    for made in reports:
        run = made.parts[0].run
        assert all(entry in on_record for entry in run.corrections)
        marked = {number for number, mark in run.marked.items() if mark == "pore"}
        assert marked == set(made.parts[0].field.crystals.query("kind == 'pore'")["id"])


def test_the_same_result_reported_again_is_the_same_run():
    corrected = opened(open_database(), "job")
    once, again = (put_on_record(corrected, IMAGE, Measuring(), None).parts[0].run for _ in range(2))
    assert once == again
    corrected.do(Correction("delete", (1,)))
    assert put_on_record(corrected, IMAGE, Measuring(), None).parts[0].run.id != once.id


def test_thresholds_that_differ_in_the_eighth_digit_have_corrections_of_their_own():
    engine, near = open_database(), Instances(min_confidence=0.25000001)
    opened(engine, "job").do(Correction("delete", (1,)))
    assert opened(engine, "job", near).entries == 0
    assert corrected_elsewhere(engine, "job", near) == [Instances().words]
    assert corrected_elsewhere(engine, "job", Instances()) == []
    opened(engine, "job", near).do(Correction("delete", (2,)))
    assert corrected_elsewhere(engine, "job", Instances()) == [
        "h 0, from 15 px², confidence from 0.25000001, flow error to 0.4"
    ]


def test_corrections_of_the_first_releases_are_found_by_their_text():
    engine = open_database()
    old = {"choice": "h 0, from 15 px², confidence from 0.25, flow error to 0.4"}
    ledger.append(engine, "correction", "job", old | {"entry": Correction("delete", (1,)).to_dict()})
    corrected = opened(engine, "job")
    assert [c.ids for c in corrected.history.log] == [(1,)]
    corrected.do(Correction("delete", (2,)))
    assert [c.ids for c in opened(engine, "job").history.log] == [(1,), (2,)]
    before = Instances(flow_threshold=None)
    assert corrected_elsewhere(engine, "job", before) == [Instances().words]
    assert corrected_elsewhere(engine, "job", Instances()) == []
    # as earlier releases read them
    last = ledger.entries(engine, "correction")[-1].body
    assert last["choice"] == old["choice"]


def test_a_correction_that_cannot_be_done_is_not_logged():
    corrected = opened(open_database(), "job")
    for asked in (Correction("delete", (9,)), "undo", "redo"):
        with pytest.raises(CorrectionError):
            corrected.do(asked)
    assert ledger.entries(corrected.engine, "correction") == []
