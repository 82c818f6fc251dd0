"""Train instance models of other families from scratch: Mask R-CNN (He et al. 2017) and Mask2Former (Cheng et al.
2022), as their libraries build them, for the methods `hub:PATH`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import Tensor, nn

from crystalseg.micrographs.labels import areas
from crystalseg.networks.weights import load_weights
from crystalseg.training.augmentation import transform
from crystalseg.training.data import Item, LabelledImage, Mixture, Stream, Synthetic, every_second, fixed_batches
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.sources import Folder

MOST = 100  # crystals of a patch that are learnt, the largest first; Mask2Former has no more queries


@dataclass(frozen=True)
class Recipe:
    """How an instance model is trained.

    patch: side of the training patches, px.
    side: the shorter side, px, to which the model's library scales an image before patches are cut.
    scales: range of an additional random factor.
    synthetic: share of synthetic images.
    least: px², the smallest crystal that is learnt.
    """

    patch: int = 256
    side: int = 800
    scales: tuple[float, float] = (0.5, 1.6)
    synthetic: float = 0.6
    least: int = 30


def instance_patch(s: LabelledImage, rng: np.random.Generator, recipe: Recipe) -> Item | None:
    """Make an item: image (3, patch, patch), 0..1 with the file's values, and labels (1, patch, patch) of its crystals,
    1..n. Returns None if there are no crystals, or if the patch is mostly outside the image."""
    raw = replace(s, low=np.zeros(3, np.float32), high=np.full(3, 255, np.float32))
    factor = recipe.side / min(s.labels.shape) * float(np.exp(rng.uniform(*np.log(recipe.scales))))
    image, labels, _, valid = transform(raw, factor, recipe.patch, rng)
    area = areas(labels)
    area[0] = 0
    kept = [n for n in np.argsort(-area)[:MOST].tolist() if area[n] >= recipe.least]
    if not kept or valid.mean() < 0.3:
        return None
    new = np.zeros(len(area), np.float32)
    new[kept] = np.arange(1, len(kept) + 1)
    return np.clip(image, 0, 1).astype(np.float32), new[labels][None]


def _masks(labels: Tensor) -> Tensor:
    """Turn labels (h, w) into masks, bool (n, h, w)."""
    return labels == torch.arange(1, int(labels.max()) + 1, device=labels.device)[:, None, None]


# --- Mask R-CNN ------------------------------------------------------------------------------------------------------


def build_mask_r_cnn(recipe: Recipe) -> nn.Module:
    """Build torchvision's Mask R-CNN on ResNet-50 with a feature pyramid, and one class, crystal."""
    detection = import_module("torchvision.models.detection")
    # Half as many samples per image: a patch has a tenth of the area of the images for which the usual numbers are
    # meant.
    fewer = {"rpn_batch_size_per_image": 128, "box_batch_size_per_image": 128, "rpn_post_nms_top_n_train": 500}
    sides = {"min_size": recipe.patch, "max_size": recipe.patch}
    return detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, **sides, **fewer)


def mask_r_cnn_loss(network: Any, image: Tensor, target: Tensor) -> Tensor:
    """Return the sum of the library's losses, also in validation, where batch norm keeps its statistics."""
    targets = []
    for labels in target[:, 0]:
        boxes = find_objects(labels.cpu().numpy().astype(np.int32))
        corners = [[b[1].start, b[0].start, b[1].stop, b[0].stop] for b in boxes]
        masks = _masks(labels)
        targets.append(
            {
                "boxes": torch.tensor(corners, dtype=torch.float32, device=image.device),
                "labels": torch.ones(len(masks), dtype=torch.int64, device=image.device),
                "masks": masks.to(torch.uint8),
            }
        )
    network = getattr(network, "module", network)  # of a moving average
    for part in (network, network.rpn, network.roi_heads, network.transform):
        part.training = True
    return sum(network(list(image), targets).values())


# --- Mask2Former -----------------------------------------------------------------------------------------------------


def build_mask2former() -> Any:
    """Build transformers' Mask2Former on a Swin transformer of half the width of the smallest published one, with one
    class, crystal."""
    transformers = import_module("transformers")
    backbone = transformers.SwinConfig(
        embed_dim=48,
        depths=[2, 2, 4, 2],
        num_heads=[3, 6, 12, 24],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=128,
        mask_feature_size=128,
        hidden_dim=128,
        encoder_feedforward_dim=512,
        dim_feedforward=512,
        encoder_layers=4,
        decoder_layers=5,
        num_queries=MOST,
        train_num_points=3136,
        num_labels=1,
    )
    return transformers.Mask2FormerForUniversalSegmentation(config)


def mask2former_loss(network: Any, image: Tensor, target: Tensor) -> Tensor:
    """Return the library's loss of classes and masks."""
    masks = [_masks(labels).float() for labels in target[:, 0]]
    classes = [torch.zeros(len(m), dtype=torch.int64, device=image.device) for m in masks]
    return network(pixel_values=_standardised(image), mask_labels=masks, class_labels=classes).loss


def _standardised(image: Tensor) -> Tensor:
    """Standardise as the processor that `save_mask2former` writes does, with the usual means of photographs."""
    mean, std = (torch.tensor(v, device=image.device)[:, None, None] for v in (_MEAN, _STD))
    return (image - mean) / std


_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def save_mask2former(path: Path, recipe: Recipe) -> Path:
    """Save the trained weights at `path` with configuration and processor, as `from_pretrained` reads them. Returns the
    folder."""
    network = build_mask2former()
    network.load_state_dict(load_weights(path, path.stem)[0])
    folder = path.with_suffix("")
    network.save_pretrained(folder)
    size = {"shortest_edge": recipe.side, "longest_edge": 2 * recipe.side}
    import_module("transformers").Mask2FormerImageProcessor(
        size=size, image_mean=_MEAN, image_std=_STD, ignore_index=255
    ).save_pretrained(folder)
    return folder


# --- both ------------------------------------------------------------------------------------------------------------


def validation_batches(folders: Sequence[Folder], recipe: Recipe, count: int = 32) -> list[tuple[Tensor, Tensor]]:
    """Return fixed patches, every second one from a folder."""

    return fixed_batches(
        folders, Synthetic(1, False, pool=24, reuse=2), every_second, partial(instance_patch, recipe=recipe), count
    )


def train(arguments: TrainingArguments, name: str) -> Path:
    """Train `mask-r-cnn` or `mask2former`. Returns what `hub:PATH` takes: a file of weights, or a folder."""
    is_former = name == "mask2former"
    choice = changed(Recipe(side=512) if is_former else Recipe(), arguments.recipe)
    limit = changed(Schedule(), arguments.schedule)
    torch.manual_seed(limit.seed)
    network = build_mask2former() if is_former else build_mask_r_cnn(choice)
    source = partial(Mixture, tuple(arguments.folders), choice.synthetic, limit.seed, False)
    stream = Stream(source, partial(instance_patch, recipe=choice), limit.seed)
    loss = mask2former_loss if is_former else mask_r_cnn_loss
    batches = validation_batches(arguments.validation, choice)
    path = fit_and_keep(name, network, arguments, choice, limit, lambda _: (stream, limit.batch), loss, batches)
    return save_mask2former(path, choice) if is_former else path
