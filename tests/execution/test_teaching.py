"""A model is taught in a folder. Small images and few steps: what is tested is the road, not how good it becomes."""

import importlib
import multiprocessing
import os
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from distributed import LocalCluster
from skimage.measure import label
from torch.utils.data import DataLoader

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.execution import teaching, work, work_state
from crystalseg.execution.kinds import lesson
from crystalseg.execution.kinds.lesson import LessonError, areas, prepare, splits
from crystalseg.execution.work_state import WorkError
from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.record import annotations, models, store
from crystalseg.record.audit import audit
from crystalseg.record.database import open_database
from crystalseg.record.models import ModelError
from crystalseg.record.validations import lookup
from crystalseg.segmentation.models import load_models, with_taught
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from crystalseg.training.loop import Trainer
from crystalseg.training.teaching import Recipe, learn


@pytest.fixture(autouse=True)
def short(monkeypatch):
    small(monkeypatch.setattr)


def small(set_attribute):
    """Two steps a part, of the judge too, one image to see what was forgotten."""
    for name, value in (("STEPS", 2), ("DRAWN", 1), ("DRAWN_SIDE", 64)):
        set_attribute(f"crystalseg.training.taught_judge.{name}", value)
    set_attribute("crystalseg.execution.teaching.LEAST_STEPS", 2)
    set_attribute("crystalseg.micrographs.examples.rehearsed", lambda: {"steel": [drawn(13)]})
    set_attribute("crystalseg.micrographs.examples.looked_at", lambda: {"steel": [drawn(11)]})
    set_attribute("crystalseg.execution.teaching.FORGETTING", 1)
    set_attribute("crystalseg.execution.teaching.FORGETTING_SIDE", 96)
    set_attribute("crystalseg.training.teaching.LESSONS", 2)
    set_attribute("crystalseg.execution.teaching.PACE_STEPS", 2)
    set_attribute("crystalseg.execution.teaching.Recipe", partial(Recipe, patch=64, batch=2, synthetic=0.0, alike=0.0))
    # no process of its own for the patches: it takes longer to start than to learn here
    set_attribute("crystalseg.training.teaching.batches", lambda s, size: iter(DataLoader(s, batch_size=size)))


def quick_looks(set_attribute):
    """What is seen of a model is what a threshold finds: as soon, and the same for all."""

    def found(models, settings, pixels):
        return label(pixels.mean(axis=2) > 128, connectivity=1).astype(np.int32)

    for module in ("teaching", "lesson_split"):
        set_attribute(f"crystalseg.execution.{module}.labels", found)


def set_plainly(name, value):
    """As pytest's monkeypatch, in a process that ends."""
    module, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(module), attribute, value)


def drawn(seed, side=112):
    image = draw(seed, (side, side), Structure("powder", diameter=24, spread=0.3))
    return annotation(Micrograph(image.image, f"powder {seed}", "0" * 64), image.labels)


@pytest.fixture
def engine():
    return open_database()


def on_record(engine, count, material="powder"):
    return [annotations.keep(engine, drawn(seed), material, "drawn") for seed in range(1, count + 1)]


def test_with_three_images_each_is_left_out_once():
    images = [drawn(seed) for seed in (1, 2, 3)]
    first, whole, *others = splits(images)
    assert whole.is_model
    assert whole.learnt == tuple(images)
    left = [one.micrograph.name for part in (first, *others) for one in part.left_out]
    assert sorted(left) == ["powder 1", "powder 2", "powder 3"]
    for part in (first, *others):
        assert not {id(one) for one in part.left_out} & {id(one) for one in part.learnt}
        assert len(part.learnt) == 2


def test_of_one_image_its_separate_areas_are_left_out():
    one = drawn(1)
    checked = np.ones_like(one.checked)
    checked[:, 52:60] = False
    image = replace(one, checked=checked)
    assert [area.checked[:, :52].all() for area in areas([image])] == [True, False]
    first, _, second = splits([image])
    for part in (first, second):
        (out,), (rest,) = part.left_out, part.learnt
        assert not (out.checked & rest.checked).any()
        np.testing.assert_array_equal(out.checked | rest.checked, checked)


def test_of_one_area_nothing_can_be_left_out():
    assert [part.is_model for part in splits([drawn(1)])] == [True]


def test_a_model_is_learnt_validated_and_used(engine, monkeypatch):
    quick_looks(monkeypatch.setattr)
    kept = on_record(engine, 3)
    told = []
    model = teaching.run(prepare(engine, "powder", "powder", kept, minutes=0.1, who="A. Kern"), engine, told.append)
    assert (model.reference, model.material, model.parent, model.who) == ("powder:1", "powder", "", "A. Kern")
    assert len(model.data) == 3
    assert model.recipe["steps"] >= 2
    assert [row["part"] for row in model.curve] == sorted(row["part"] for row in model.curve)
    assert model.scores["areas"] == 3
    assert 0 <= model.scores["pq"] <= 1
    assert len(model.scores["errors"]["mean"]) == 3
    assert told[-1].status == "done"
    assert told[-1].share == 1
    assert not list(audit(engine))
    # it is used by name, and with it the uncertainty that was measured
    settings = Settings(network=model.setting)
    assert lookup(None, settings).images == 3
    shipped = load_models(device="cpu")
    used = with_taught(shipped, models.taught(engine, settings))
    assert used.hashes["folded"] == model.weights != shipped.hashes["folded"]
    assert used.versions["folded"] == "powder:1"
    assert model.scores["real_areas"] == 1
    # taught again it is the next version, from the first; by now there is another material, of which it may forget
    other = drawn(9)
    for one in (other, drawn(15)):  # every second is rehearsed, the others tell what was forgotten
        annotations.keep(engine, one, "pebbles", "drawn")
    again = prepare(engine, "powder", "powder", kept[:1], parent="powder", minutes=0.1)
    given = lesson.load(again)
    assert [name for name, *_ in given.rehearsed] == ["powder 15"]
    learnt_with = []
    monkeypatch.setattr(
        "crystalseg.execution.lesson_split.learn", lambda *given: learnt_with.append(given[-1]) or learn(*given)
    )
    second = teaching.run(again, engine)
    assert [one.micrograph.name for one in learnt_with[0]] == ["powder 15", "powder 13"]
    assert (second.reference, second.parent) == ("powder:2", "powder:1")
    assert second.recipe["rehearsed_data"] == list(given.rehearsed_data)
    assert second.scores["areas"] == 0
    found = [
        panoptic_quality(one.labels, label(one.micrograph.pixels.mean(axis=2) > 128, connectivity=1))
        for one in (drawn(11), other)
    ]
    assert second.scores["real_areas"] == 2
    assert second.scores["real"] == second.scores["real_before"] == pytest.approx(np.mean(found))
    assert "A verdict needs" in second.verdict


def teach_once(home, folder, killed_after):
    """In a process of its own: learn, and die when so many steps were taken in all."""
    os.environ["CRYSTALSEG_HOME"] = home
    small(
        lambda name, value: setattr(__import__(name.rpartition(".")[0], fromlist=["_"]), name.rpartition(".")[2], value)
    )

    torch.set_num_threads(1)
    taken, real = [0], Trainer.step

    def step(self, *batch):
        real(self, *batch)
        taken[0] += 1
        if taken[0] == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer.step = step
    teaching.run(folder, open_database())


def test_killed_and_gone_on_with_it_ends_with_the_same_weights(engine, own_home):
    kept = on_record(engine, 1)
    home, hashes = str(store.home()), []
    for name, kills in (("undisturbed", ()), ("killed", (3,))):
        folder = prepare(engine, name, "powder", kept, minutes=0.1)
        given = replace(lesson.load(folder), steps=4, every=2, created="2026-01-01")
        given.save(folder)
        for killed_after in (*kills, 0):
            process = multiprocessing.get_context("spawn").Process(target=teach_once, args=(home, folder, killed_after))
            process.start()
            process.join(240)
            assert (process.exitcode == 0) == (not killed_after)
        state = work_state.state_of(folder)
        assert (state.status, state.made) == ("done", f"{name}:1")
        hashes.append(models.find(engine, name).weights)
    # the card names the model, the rest is the same
    first, second = (_tensors(store.get(sha256)) for sha256 in hashes)
    assert first == second
    assert len(models.models(engine)) == 2


def _tensors(data):
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_a_pause_is_followed_and_gone_on_from(engine, monkeypatch):
    quick_looks(monkeypatch.setattr)
    folder = prepare(engine, "powder", "powder", on_record(engine, 1), minutes=0.1)

    def pause(state):
        if state.stage == "the model, from all areas":
            work_state.ask(folder, "paused")

    replace(lesson.load(folder), steps=3, every=3).save(folder)
    assert teaching.run(folder, engine, pause) is None
    assert work_state.state_of(folder).status == "paused"
    work_state.ask(folder, "")
    assert teaching.run(folder, engine).reference == "powder:1"


def test_a_cluster_learns_the_parts_with_the_same_result(engine, monkeypatch):
    quick_looks(monkeypatch.setattr)
    kept = on_record(engine, 2)
    found = []
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        for name, address in (("here", None), ("there", cluster.scheduler_address)):
            folder = prepare(engine, name, "powder", kept, minutes=0.1)
            replace(lesson.load(folder), steps=2, every=2, created="2026-01-01").save(folder)
            found.append(teaching.run(folder, engine, scheduler=address))
    here, there = found
    assert _tensors(store.get(here.weights)) == _tensors(store.get(there.weights))
    assert here.scores == there.scores
    assert there.scores["areas"] == 2
    assert "A verdict needs 3 or more such areas" in there.verdict


def test_two_people_do_not_teach_the_same_model_at_once(engine):
    kept = on_record(engine, 1)
    folder = prepare(engine, "powder", "powder", kept, who="A. Kern")
    with pytest.raises(LessonError, match=r"A\. Kern is already teaching"):
        prepare(engine, "powder", "powder", kept, who="B. Lang")
    with work_state.locked(folder), pytest.raises(WorkError, match="already running"):
        teaching.run(folder, engine)
    work.discard(work.work_in(folder))
    prepare(engine, "powder", "powder", kept, who="B. Lang")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"kept": ()}, "no labelled image of powder yet"),
        ({"name": "a/b"}, "1 to 40 letters"),
        ({"parent": "magnesia"}, "no model 'magnesia'"),
        ({"minutes": 0.0}, "0.1 and 10,000 minutes"),
    ],
)
def test_a_lesson_that_cannot_be_given_is_refused(engine, given, words):
    facts = {"name": "powder", "material": "powder", "kept": on_record(engine, 1)} | given
    with pytest.raises((LessonError, ModelError), match=words):
        prepare(engine, **facts)


def test_an_image_under_two_names_is_refused_before_anything_is_learnt(engine):
    kept = on_record(engine, 1)
    twice = [*kept, replace(kept[0], name="another")]
    with pytest.raises(MicrographError, match="the same image"):
        prepare(engine, "powder", "powder", twice)


def test_a_failure_is_a_sentence_and_can_be_gone_on_from(engine, monkeypatch):
    quick_looks(monkeypatch.setattr)
    folder = prepare(engine, "powder", "powder", on_record(engine, 1), minutes=0.1)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("crystalseg.execution.teaching.save_weights", full)
        with pytest.raises(OSError, match="No space"):
            teaching.run(folder, engine)
    state = work_state.state_of(folder)
    assert state.status == "failed"
    assert state.error.startswith("No space left on device")
    assert teaching.run(folder, engine).reference == "powder:1"
