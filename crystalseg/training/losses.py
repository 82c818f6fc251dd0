"""Parts that several losses share."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from crystalseg.networks.sa2 import SA2Net


def mean_of_valid(loss: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of a loss per pixel, (B, C, H, W), over all maps and the pixels where `valid`, (B, 1, H, W), is
    1; 0 if there are none."""
    return (loss * valid).sum() / (loss.shape[1] * valid.sum().clamp(min=1))


def supervised_deeply(loss_of: Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]) -> Callable:
    """Turn a loss into one `(network, image, target)` that, while an SA2-Net learns, is the mean over all levels of its
    decoder (Fiaz et al. 2023). It is the same loss for other networks and in validation."""

    def mean_of_stages(network: nn.Module, image: Tensor, target: Tensor) -> Tensor:
        if not (network.training and isinstance(network, SA2Net)):
            return loss_of(network, image, target)
        losses = [loss_of(lambda _: stage, image, target) for stage in network.stages(image)]  # noqa: B023 - called at once
        return torch.stack(losses).mean()

    return mean_of_stages
