"""A record rewritten by its own owner, hashes and head and all, and what a report that is out says of it."""

import json
import stat
from dataclasses import replace

import pytest
from sqlalchemy import text

from crystalseg.record import ledger, store
from crystalseg.record.anchors import Anchor, anchor, anchors_in, check
from crystalseg.record.audit import audit
from crystalseg.record.database import RecordError, open_database
from crystalseg.report.html import build_html
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import report_of
from crystalseg.report.workbook import build_workbook
from tests.report.report_cases import case


@pytest.fixture
def engine(own_home):
    return open_database()


def written(engine, sizes):
    for k, size in enumerate(sizes):
        ledger.append(engine, "run", f"r{k}", {"size": size})


def rewrite(engine, sizes):
    """As the owner of database and home can: another history whose chain and head are in order."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM ledger"))
    written(engine, sizes)
    assert list(audit(engine)) == []


FORMS = {"PDF": build_pdf, "HTML": build_html, "Excel": build_workbook}


@pytest.mark.parametrize("form", FORMS)
def test_a_report_tells_that_the_record_was_rewritten(engine, form):
    written(engine, [1.0, 2.0, 3.0])
    micrograph, found, measurement, run = case()
    report = replace(report_of(micrograph, found, measurement, run, None), anchor=anchor(engine))
    data = FORMS[form](report)
    assert anchors_in(data) == [report.anchor]
    assert list(check(engine, data)) == []
    ledger.append(engine, "run", "later", {})
    assert list(check(engine, data)) == []  # what is added since changes nothing
    rewrite(engine, [1.0, 2.5, 3.0, 4.0])
    (said,) = check(engine, data)
    assert "rewritten after" in said
    assert "entry 3" in said
    rewrite(engine, [1.0])  # cut short, with its head
    (said,) = check(engine, data)
    assert "entry 3 differs" in said


def test_a_signature_is_of_number_and_hash(engine):
    written(engine, [1.0])
    held = anchor(engine)
    assert held.is_genuine
    for forged in (replace(held, number=2), replace(held, hash="0" * 64), replace(held, signature="0" * 128)):
        assert not forged.is_genuine
        assert any("its signature for entry" in said for said in check(engine, str(forged).encode()))


def test_another_record_is_told_by_its_key(engine, monkeypatch, tmp_path):
    written(engine, [1.0])
    data = str(anchor(engine)).encode()
    (store.home() / "signing.key").unlink()
    (said,) = check(engine, data)
    assert "but this record's key" in said


def test_the_key_is_its_owners_alone_and_stays(engine):
    first = anchor(engine).key
    assert stat.S_IMODE((store.home() / "signing.key").stat().st_mode) == 0o600
    assert anchor(engine).key == first


def test_a_key_that_cannot_be_used_is_a_sentence(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("CRYSTALSEG_SIGNING_KEY", str(tmp_path / "none.pem"))
    with pytest.raises(RecordError, match=r"cannot be used\. Restore it"):
        anchor(engine)
    (tmp_path / "none.pem").write_text("no key")
    with pytest.raises(RecordError, match="cannot be used"):
        anchor(engine)


def test_files_without_an_anchor_have_none():
    assert anchors_in(b"%PDF-1.7 nothing") == []
    assert anchors_in(json.dumps({"a": 1}).encode()) == []
    assert Anchor(1, "0" * 64, "1" * 64, "2" * 128).is_genuine is False
