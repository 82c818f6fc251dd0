import itertools

import numpy as np
import pytest

from crystalseg.segmentation.attention import levels_from_labels
from crystalseg.training import data
from crystalseg.training.data import Mixture, Synthetic, endless_images, labelled_image


def test_mixture_draws_from_both():
    source = Mixture([], 0.0, 0, with_flow=False)
    assert source(np.random.default_rng(0)).flow is None  # without folders everything is synthetic
    assert levels_from_labels(source(np.random.default_rng(1)).labels).any()


def test_some_synthetic_images_are_flat_pictures(monkeypatch):
    drawn = []

    def flat(rng, shape):
        drawn.append(shape)
        return random_flat(rng, shape)

    random_flat = data.random_flat
    monkeypatch.setattr(data, "random_flat", flat)
    generator, rng = Synthetic(0, False, sides=(64, 96), reuse=1), np.random.default_rng(0)
    for _ in range(60):
        generator(rng)
    assert 2 <= len(drawn) <= 20  # 9 are expected
    drawn.clear()
    for _ in itertools.islice(endless_images([], 1.0, (64, 96), (64, 96), 1), 60):
        pass
    assert 1 <= len(drawn) <= 15  # 4.5


def test_crystals_of_a_sample_by_hand():
    labels = np.zeros((30, 40), np.int32)
    labels[5:15, 10:20] = 7
    s = labelled_image(np.zeros((30, 40, 3), np.uint8), labels, False)
    np.testing.assert_allclose(s.crystals, [[9.5, 14.5, 2 * np.sqrt(100 / np.pi)]], rtol=1e-5)
    assert s.diameter == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert labelled_image(s.image, np.zeros_like(labels), False).diameter == 0


def test_some_synthetic_images_are_written_on_and_some_show_no_crystal(monkeypatch):
    kinds = {"inscribe": 0, "draw_ground": 0}

    def counted(name):
        known = getattr(data, name)

        def call(*given):
            kinds[name] += 1
            return known(*given)

        return call

    for name in kinds:
        monkeypatch.setattr(data, name, counted(name))
    rng = np.random.default_rng(0)
    drawn = [data.drawn_image(rng, (64, 80)) for _ in range(200)]
    assert 30 <= kinds["inscribe"] <= 75  # 50 are expected
    assert 2 <= kinds["draw_ground"] <= 18  # 8
    assert all(pixels.shape == (64, 80, 3) and labels.shape == (64, 80) for pixels, labels in drawn)
    assert kinds["draw_ground"] <= sum(not labels.any() for _, labels in drawn) < 100


def test_seeds_of_training_are_even(monkeypatch):
    seeds = []
    draw = data.draw
    monkeypatch.setattr(data, "draw", lambda seed, *given: seeds.append(seed) or draw(seed, *given))
    rng = np.random.default_rng(0)
    for _ in range(20):
        data.drawn_image(rng, (64, 80))
    assert len(set(seeds)) > 15
    assert not any(seed % 2 for seed in seeds)
