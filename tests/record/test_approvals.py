import pytest

from crystalseg.record.approvals import approval, approve, approvers
from crystalseg.record.database import open_database
from tests.conftest import keep
from tests.record.test_runs import measured


def test_a_run_is_approved_once_and_by_somebody():
    engine = open_database()
    run = measured()
    with pytest.raises(ValueError, match="no run"):
        approve(engine, run.id, "A. Kern")
    keep(engine, run)
    assert approval(engine, run.id) == ""
    with pytest.raises(ValueError, match="needs the name"):
        approve(engine, run.id, "  ")
    first = approve(engine, run.id, " A. Kern ")
    assert approve(engine, run.id, "B. Alt") == first
    assert approval(engine, run.id).startswith("A. Kern, 20")
    assert approvers(engine) == {run.id: "A. Kern"}
