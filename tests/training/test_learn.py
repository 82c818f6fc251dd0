from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from crystalseg.micrographs.annotations import annotation
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.efficientnet import EfficientUNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.segmentation.methods import FLOW_NETWORKS
from crystalseg.training.augmentation import flow_patch
from crystalseg.training.data import NumberedStream, labelled_image
from crystalseg.training.teaching import NETWORKS, Lessons, Recipe, begin, learn, learnt_from
from tests.training.training_cases import DRAWN

ONE = annotation(Micrograph(DRAWN.image, "powder", "0" * 64), DRAWN.labels)
SHORT = Recipe(steps=4, patch=64, batch=2, every=2)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """No process of its own for the patches: it takes longer to start than to learn here."""
    monkeypatch.setattr("crystalseg.training.teaching.batches", lambda s, size: iter(DataLoader(s, batch_size=size)))
    monkeypatch.setattr("crystalseg.training.teaching.LESSONS", 2)
    monkeypatch.setattr("crystalseg.training.teaching.ALIKE", 2)
    monkeypatch.setattr("crystalseg.training.teaching.ALIKE_SIDE", 128)


def network():
    torch.manual_seed(0)
    return begin("folded", FoldedCPNet().state_dict())


def test_learning_that_was_stopped_at_any_step_ends_with_the_same_weights(tmp_path):
    whole, step = learn(network(), [ONE], [ONE], SHORT, tmp_path / "whole")
    for stop in (1, 2, 3):
        folder = tmp_path / f"stopped at {stop}"
        assert learn(network(), [ONE], [ONE], SHORT, folder, go_on=lambda s, stop=stop: s != stop) is None
        again, at = learn(network(), [ONE], [ONE], SHORT, folder)
        assert at == step
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_is_seen_of_the_network_goes_into_the_curve(tmp_path):
    learn(network(), [ONE], [], SHORT, tmp_path, score=lambda seen: {"pq": float(seen.training)})
    lines = (tmp_path / "learn.csv").read_text().splitlines()
    assert lines[0].endswith(",pq")
    assert [line.split(",")[0] for line in lines[1:]] == ["2", "4"]


def test_statistics_of_batch_norm_are_those_of_all_materials(tmp_path):
    taught = network()
    before = {name: values.clone() for name, values in taught.named_buffers()}
    assert any(name.endswith("running_mean") for name in before)
    learnt, _ = learn(taught, [ONE], [], SHORT, tmp_path)
    assert all(torch.equal(learnt[name], values) for name, values in before.items())
    assert not all(torch.equal(learnt[name], values) for name, values in network().named_parameters())


def test_without_anything_left_out_the_last_weights_are_kept(tmp_path):
    assert learn(network(), [ONE], [], SHORT, tmp_path)[1] == 4


def first_numbers(start, workers, count=4):
    """The first batches of a stream whose items are their random numbers."""
    stream = NumberedStream(lambda: lambda rng: rng.random(2), lambda item, rng: item, 7, start, 3)
    loader = DataLoader(stream, batch_size=3, num_workers=workers)
    return [batch.tolist() for batch, _ in zip(loader, range(count), strict=False)]


def test_a_stream_gives_the_same_wherever_it_begins():
    every = first_numbers(0, 0, 6)
    assert first_numbers(2, 0) == every[2:]
    assert len({tuple(map(tuple, batch)) for batch in every}) == 6


def test_only_checked_crystals_are_learnt():
    checked = np.zeros(DRAWN.labels.shape, bool)
    checked[:130] = True
    part = learnt_from(annotation(ONE.micrograph, DRAWN.labels, checked))
    whole = learnt_from(ONE)
    assert 0 < len(part.crystals) < len(whole.crystals)
    assert (part.crystals[:, 0] < 150).all()
    assert not part.ground[130:].any()
    np.testing.assert_array_equal(part.flow, whole.flow)


def test_rehearsal_is_as_often_as_asked():
    other = replace(ONE, micrograph=replace(ONE.micrograph, name="pebbles"))
    lessons = Lessons([ONE], [other], Recipe(synthetic=0.3, alike=0.1, rehearsed=0.2))
    rng = np.random.default_rng(0)
    seen = [lessons(rng) for _ in range(200)]
    assert 60 < sum(one is lessons.own[0] for one in seen) < 100  # 80 expected, deviation 7
    assert 23 < sum(one is lessons.others[0] for one in seen) < 57  # 40 expected, deviation 6
    assert len({id(one) for one in seen}) == 1 + 1 + 2 + 2
    assert sorted(lessons.made) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_of_too_few_crystals_nothing_alike_is_made():
    few = replace(ONE, labels=np.where(ONE.labels <= 4, ONE.labels, 0).astype(np.int32))
    lessons = Lessons([few], [], Recipe(synthetic=0.0, alike=1.0))
    assert all(lessons(np.random.default_rng(seed)) is lessons.own[0] for seed in range(5))


def test_labelled_images_know_where_they_are_right():
    image = labelled_image(DRAWN.image, DRAWN.labels, False)
    assert image.valid is None
    np.testing.assert_array_equal(image.ground, DRAWN.labels == 0)


def test_every_flow_network_can_be_taught():
    assert set(NETWORKS) == set(FLOW_NETWORKS)
    made = begin("efficientnet", EfficientUNet().state_dict())
    item = learnt_from(ONE)
    patch = flow_patch(item, np.random.default_rng(0), 64, item.diameter, (1.0, 1.01))
    image, target = (torch.from_numpy(part)[None] for part in patch)
    assert NETWORKS["efficientnet"][1](made, image, target).isfinite()
