from dataclasses import replace

import pytest

from crystalseg.errors import UserError
from crystalseg.record import ledger, profiles
from crystalseg.record.approvals import approval, approve, signatures
from crystalseg.record.database import open_database
from crystalseg.record.people import Person, give_role
from crystalseg.record.profiles import Profile
from tests.conftest import keep
from tests.record.test_runs import measured


def test_a_run_is_approved_once_and_by_somebody():
    engine = open_database()
    run = measured()
    with pytest.raises(UserError, match="no run"):
        approve(engine, run.id, "A. Kern")
    keep(engine, run)
    assert approval(engine, run.id) == ""
    with pytest.raises(UserError, match="needs the name"):
        approve(engine, run.id, "  ")
    first = approve(engine, run.id, " A. Kern ")
    assert approve(engine, run.id, "B. Alt") == first
    assert approval(engine, run.id).startswith("A. Kern, 20")


ADA = Person("ada@x.org", "Ada Kern", "approver", 1.0)


def test_a_signature_says_who_when_and_what_and_is_bound_to_the_run_by_its_hash():
    engine = open_database()
    run = measured()
    keep(engine, run)
    approve(engine, run.id, "B. Alt", "review")
    approve(engine, run.id, "C. Neu", "review")
    entry = approve(engine, run.id, ADA)
    assert [(s.who, s.meaning) for s in signatures(engine, run.id)] == [
        ("Ada Kern <ada@x.org>", "approval"),
        ("B. Alt", "review"),
        ("C. Neu", "review"),
    ]
    (own,) = ledger.entries(engine, "run", run.id)
    assert entry.body == {"meaning": "approval", "run": own.hash, "identity": "ada@x.org"}
    with pytest.raises(UserError, match="must be one of: approval, review, authorship"):
        approve(engine, run.id, ADA, "liking")


def test_where_people_sign_in_a_typed_name_signs_nothing():
    engine = open_database()
    run = measured()
    keep(engine, run)
    give_role(engine, "ada@x.org", "administrator", "")
    with pytest.raises(UserError, match="Users of this record sign in"):
        approve(engine, run.id, "Ada Kern")
    approve(engine, run.id, ADA)


def test_four_eyes_are_two_people():
    engine = open_database()
    profiles.save(engine, Profile("strict", four_eyes=True))
    profiles.save(engine, Profile("usual"))
    by_ada = replace(measured(), profile="strict", details={"operator": "Ada Kern <ada@x.org>"})
    corrected = replace(
        measured(),
        profile="strict",
        details={"operator": "B. Alt"},
        corrections=[{"kind": "delete", "who": "Ada Kern <ada@x.org>"}],
    )
    by_nobody = replace(measured(), profile="strict")
    usual = replace(measured(), profile="usual", image_sha256="another", details={"operator": "Ada Kern <ada@x.org>"})
    for run in (by_ada, corrected, by_nobody, usual):
        keep(engine, run)
    profiles.save(engine, Profile("strict"))  # relaxed afterwards: what was measured before keeps its rule
    for run in (by_ada, corrected):
        with pytest.raises(UserError, match=r"was made by .*Ada Kern <ada@x.org>.*\. Its profile requires"):
            approve(engine, run.id, ADA)
    with pytest.raises(UserError, match="has no operator on record"):
        approve(engine, by_nobody.id, ADA)
    approve(engine, by_ada.id, ADA, "authorship")  # one's own work may be signed as that
    approve(engine, usual.id, ADA)
    approve(engine, by_ada.id, Person("ben@x.org", "Ben Alt", "approver", 1.0))
    assert approval(engine, by_ada.id).startswith("Ben Alt <ben@x.org>, 20")


@pytest.mark.parametrize("other", ["", "usual"])
def test_four_eyes_hold_for_all_runs_of_an_image(other):
    engine = open_database()
    profiles.save(engine, Profile("strict", four_eyes=True))
    profiles.save(engine, Profile("usual"))
    strict = replace(measured(), profile="strict", details={"operator": "Ada Kern <ada@x.org>"})
    as_found = replace(measured(), profile=other, details={"operator": "Ada Kern <ada@x.org>"})
    keep(engine, as_found)
    keep(engine, strict)
    with pytest.raises(UserError, match="requires approval by another person"):
        approve(engine, as_found.id, ADA)
    approve(engine, as_found.id, Person("ben@x.org", "Ben Alt", "approver", 1.0))


def test_whoever_asked_for_the_job_made_the_run():
    engine = open_database()
    profiles.save(engine, Profile("strict", four_eyes=True))
    job = replace(measured(), details={"operator": "Ada Kern"})
    keep(engine, job)
    run = replace(measured(), profile="strict", job=job.id, details={"operator": "B. Alt"})
    keep(engine, run)
    with pytest.raises(UserError, match=r"made by B\. Alt, Ada Kern"):
        approve(engine, run.id, ADA)
