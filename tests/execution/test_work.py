"""Long work as one noun: what holds for every kind, shown on one that is a file of this test."""

import datetime
import json

import pytest

from crystalseg.execution import kinds as package
from crystalseg.execution import retention, work, work_state
from crystalseg.execution.work_state import State, WorkError
from crystalseg.record import ledger, profiles, store
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from tests.cli.test_cli import here

# All that a fifth kind takes.
TOY = """
from dataclasses import dataclass

from crystalseg.execution.work import Kind
from crystalseg.execution.work_state import order_in, working
from crystalseg.record import ledger
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run
from tests.conftest import keep
from tests.record.test_runs import measured
from dataclasses import replace


@dataclass(frozen=True)
class Asked:
    id: str
    image: str
    operator: str = ""
    profile: Profile = Profile("short", keep_images=10)

    @property
    def title(self):
        return f"toy {self.id}"


class Toy(Kind):
    name, place, files, parts = "toy", "toys", ("toy.json",), "steps"

    def asked(self, folder):
        return order_in(folder / "toy.json", "toy", lambda facts: Asked(**facts))

    def carry_out(self, work, engine, workers, scheduler, say):
        with working(work.folder) as reporter:
            for step in range(work.state(engine).done, 4):
                reporter(stage=f"step {step}", done=step, total=4, share=step / 4)
                if (work.folder / "pause at").exists() and step == 2:
                    (work.folder / "pause at").unlink()
                    say(work_stop(work, engine))
                reporter.check()
            keep(engine, replace(measured(), id=work.id, profile="short", image_sha256=work.asked.image))
            reporter(done=4)

    def runs(self, work, engine):
        return [Run.from_dict(entry.body) for entry in ledger.entries(engine, "run", work.id)]


def work_stop(one, engine):
    from crystalseg.execution import work

    return work.stop(one, "paused", engine)


KIND = Toy()
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Work of a kind that is one file more."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "toy.py").write_text(TOY)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "kinds")])
    work.kinds.cache_clear()
    folder = work.new_folder("toy")
    (folder / work.UPLOADS).mkdir()
    (folder / work.UPLOADS / "a.png").write_bytes(b"an image")
    image = store.put(b"an image")
    (folder / "toy.json").write_text(json.dumps({"id": "t1", "image": image}))
    yield work.work_in(folder)
    work.kinds.cache_clear()


def test_the_kinds_are_the_files_of_their_package():
    assert set(work.kinds()) == {"batch", "mosaic", "series", "lesson"}


def test_a_kind_that_is_one_file_is_listed_paused_gone_on_with_and_cleared(toy):
    engine = open_database()
    profiles.save(engine, Profile("short", keep_images=10))
    assert [(one.kind.name, one.title) for one in work.works()] == [("toy", "toy t1")]
    assert "toy toy t1 · waiting" in here("work", "list").stdout
    assert toy.state(engine) == State()
    # it pauses where it is asked to, and goes on from there
    (toy.folder / "pause at").touch()
    said = here("work", "go-on", "t1")
    assert "paused after the current step" in said.stdout, said.stderr
    assert "toy toy t1: paused, 50 %, step 2" in said.stdout
    state = toy.state(engine)
    assert (state.status, state.done, state.total, state.share) == ("paused", 2, 4, 0.5)
    assert "toy toy t1: done, 100 %" in here("work", "go-on", str(toy.folder)).stdout
    # its images go with their time
    now = datetime.datetime.now(datetime.UTC)
    assert retention.expired(engine, now + datetime.timedelta(days=9)) == []
    gone = retention.retain(engine, now + datetime.timedelta(days=11))
    assert [one.problem for one in gone] == ["", ""]
    assert {path.name for one in gone for path in one.paths} == {"a.png", store.put(b"an image")}
    assert not list((toy.folder / work.UPLOADS).iterdir())
    # and it is discarded, with what is on record left
    assert "discarded" in here("work", "discard", "t1").stdout
    assert work.works() == []
    assert len(ledger.entries(engine, "run", "t1")) == 1
    assert here("work", "go-on", "t1").returncode == 2


def test_a_folder_without_work_is_named(tmp_path):
    with pytest.raises(WorkError, match=r"There is no long work \(batch, lesson, mosaic, series\) in"):
        work.work_in(tmp_path)


def test_work_that_was_just_started_is_starting_until_its_process_holds_it_or_ends(toy, monkeypatch):
    engine = open_database()

    class Process:
        code = None

        def poll(self):
            return self.code

    process, called = Process(), []
    monkeypatch.setattr(work.places, "start", lambda *command, **_: called.append(command) or process)
    work_state.ask(toy.folder, "paused")
    work.start(toy)
    assert called == [("work", "go-on", str(toy.folder), "--workers", "1")]
    assert work_state.asked(toy.folder) == ""
    assert toy.state(engine).status == "starting"
    with work_state.locked(toy.folder):
        assert toy.state(engine).status == "running"
    process.code = 1
    assert toy.state(engine).status == "failed"
    assert "log.txt says more" in toy.state(engine).error
    assert work.stop(toy, "cancelled", engine) == "cancelled"
    assert toy.state(engine).status == "cancelled"
