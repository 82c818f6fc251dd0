import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Mask2FormerImageProcessor

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation import hub
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.training import instances
from crystalseg.training.loop import TrainingArguments
from crystalseg.training.plan import TRAIN
from tests.training.training_cases import DRAWN, SAMPLE, SMALL

RECIPE = instances.Recipe(patch=96, side=260, scales=(1.0, 1.0 + 1e-9), synthetic=0.0)


@pytest.fixture
def trained(folder, tmp_path, monkeypatch):
    """What a training of two steps leaves."""
    monkeypatch.setattr(instances, "validation_batches", partial(instances.validation_batches, count=1))
    recipe = json.dumps({"patch": 64, "synthetic": 0.0})
    return lambda name: TRAIN[name](TrainingArguments(tmp_path / "out", [folder], [folder], None, recipe, SMALL))


def test_a_trained_mask2former_runs_as_a_model_of_the_hub(trained):
    path = trained("mask2former")
    found = segment(Micrograph(DRAWN.image[:80, :100], "", ""), Settings(f"hub:{path}"), None)
    assert found.labels.shape == (80, 100)
    (version,) = found.versions.values()
    assert version.startswith("mask2former of transformers")


def test_a_trained_mask_r_cnn_is_read_as_a_model_of_the_hub(trained):
    path = trained("mask-r-cnn")
    assert hub.described(path).startswith("Mask R-CNN of torchvision")
    read = hub._built_mask_r_cnn(path)  # runs as those of tests/segmentation/test_hub.py
    assert read.roi_heads.box_predictor.cls_score.out_features == 2


def test_a_patch_shows_the_file_as_it_is_and_numbers_its_crystals():
    grey = replace(SAMPLE, image=np.full_like(SAMPLE.image, 128))
    shown = [instances.instance_patch(grey, np.random.default_rng(k), RECIPE) for k in range(12)]
    means = [image[:, 20:-20, 20:-20].mean() for image, _ in shown]  # each with another brightness
    assert np.median(means) == pytest.approx(128 / 255, abs=0.15)
    for image, labels in shown:
        assert image.min() >= 0
        assert image.max() <= 1
        area = np.bincount(labels.astype(int).ravel())[1:]
        assert (area >= RECIPE.least).all()
        assert (np.diff(area) <= 0).all()  # the largest first: those beyond MOST are the smallest
        masks = instances._masks(torch.from_numpy(labels[0]))
        assert masks.sum(dim=(1, 2)).tolist() == area.tolist()
    assert instances.instance_patch(SAMPLE, np.random.default_rng(0), replace(RECIPE, least=10**6)) is None


def test_validation_leaves_batch_norm_alone():
    torch.manual_seed(0)
    network = instances.build_mask_r_cnn(RECIPE).eval()
    before = network.backbone.body.bn1.running_mean.clone()
    image, labels = instances.instance_patch(SAMPLE, np.random.default_rng(0), RECIPE)
    with torch.inference_mode():
        loss = instances.mask_r_cnn_loss(network, torch.from_numpy(image)[None], torch.from_numpy(labels)[None])
    assert np.isfinite(loss.item())
    assert torch.equal(network.backbone.body.bn1.running_mean, before)


def test_mask2former_learns_from_pictures_as_its_processor_makes_them():
    size = {"shortest_edge": 96, "longest_edge": 192}
    pixels = DRAWN.image[:96, :128]
    theirs = Mask2FormerImageProcessor(size=size, image_mean=instances._MEAN, image_std=instances._STD)(
        images=Image.fromarray(pixels), return_tensors="pt"
    )["pixel_values"]
    ours = instances._standardised(torch.from_numpy(pixels / 255.0).permute(2, 0, 1)[None].float())
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
