"""Confidence: the probable quality of a proposed crystal, from its picture and figures (after Huang et al. 2019)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

PICTURES, FIGURES = 9, 8  # channels of a proposal's picture and number of its figures, without outlines
WIDTH = 24


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Confidence(nn.Module):
    """Four convolutions over the proposal's picture; their mean and maximum and the figures then pass two layers.

    Takes pictures (n, `pictures`, h, w) and features (n, `figures`), in the order of CHANNELS and FEATURES in
    `segmentation.proposals`, with those of outlines if the flow network gives outlines. Returns the logits (n,) of
    being right, that is of IoU > 0.5 with a true crystal. `line`, slope and offset, is their Platt scaling. 61,073
    parameters without outlines.
    """

    def __init__(self, pictures: int = PICTURES, figures: int = FIGURES) -> None:
        super().__init__()
        wide = 2 * WIDTH
        self.picture = nn.Sequential(
            _block(pictures, WIDTH),
            nn.MaxPool2d(2),
            _block(WIDTH, wide),
            nn.MaxPool2d(2),
            _block(wide, wide),
            nn.MaxPool2d(2),
            _block(wide, wide),
        )
        self.norm = nn.BatchNorm1d(figures, affine=False)
        self.decide = nn.Sequential(nn.Linear(2 * wide + figures, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
        self.line: Tensor
        self.register_buffer("line", torch.tensor([1.0, 0.0]))

    @staticmethod
    def shaped(state: Mapping[str, Tensor]) -> "Confidence":
        """Return a network that a state dict fits into."""
        return Confidence(state["picture.0.0.weight"].shape[1], len(state["norm.running_mean"]))

    def forward(self, pictures: Tensor, features: Tensor) -> Tensor:
        return self.judge(self.look(pictures), features)

    def look(self, pictures: Tensor) -> Tensor:
        """Return what the network sees in the pictures, (n, 4 · WIDTH), independent of the features."""
        seen = self.picture(pictures)
        return torch.cat((seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))), dim=1)

    def judge(self, seen: Tensor, features: Tensor) -> Tensor:
        """Return the logits from the output of `look` and the features."""
        everything = torch.cat((seen, self.norm(features)), dim=1)
        return self.line[0] * self.decide(everything)[:, 0] + self.line[1]
