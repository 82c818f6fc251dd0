"""A training step and an inference of FoldedCPNet against CPNet, by turns in the same run, one core each.

    python -m benchmarks.networks [--batch 8] [--side 128] [--rounds 7]

Both compute as in training: channels last, in bf16 where the processor does. The medians of all rounds are compared.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.segmentation.precision import autocast
from crystalseg.training.cellpose import loss_of as cellpose_loss
from crystalseg.training.folded import Recipe
from crystalseg.training.folded import loss_of as folded_loss


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def training_step(network: nn.Module, loss_of: Callable, image: Tensor, target: Tensor) -> None:
    network.train()
    with autocast(image.device):
        loss = loss_of(network, image, target)
    network.zero_grad()
    loss.backward()


@torch.inference_mode()
def inference(network: nn.Module, image: Tensor) -> None:
    network.eval()
    with autocast(image.device):
        network(image)


def compare(batch: int, side: int, rounds: int) -> dict[str, float]:
    """Medians in seconds, and how many times as fast FoldedCPNet is."""
    image = torch.rand(batch, 3, side, side).to(memory_format=torch.channels_last)
    target = torch.rand(batch, 5, side, side).round()
    outline = Recipe().outline
    candidates = {
        "cpnet": (CPNet(), cellpose_loss),
        "folded": (FoldedCPNet(), lambda *given: folded_loss(*given, outline)),
    }
    times: dict[str, list[float]] = {}
    for _ in range(rounds + 1):
        for name, (network, loss_of) in candidates.items():
            network.to(memory_format=torch.channels_last)
            step = seconds(lambda n=network, of=loss_of: training_step(n, of, image, target))
            times.setdefault(f"{name}_step", []).append(step)
            times.setdefault(f"{name}_inference", []).append(seconds(lambda n=network: inference(n, image)))
    median = {name: float(np.median(values[1:])) for name, values in times.items()}  # the first round warms up
    ratios = {f"{what}_ratio": median[f"cpnet_{what}"] / median[f"folded_{what}"] for what in ("step", "inference")}
    return median | ratios


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for key, value in compare(options.batch, options.side, options.rounds).items():
        print(f"{key:18} {value:.3f}")
