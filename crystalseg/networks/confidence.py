"""Confidence: how likely a proposed crystal is right, from the figures that `selection` describes it by."""

from torch import Tensor, nn

from crystalseg.selection import FEATURES


class Confidence(nn.Module):
    """A logistic regression. Takes features (n, 4) in the order of `selection.FEATURES`; returns the logits (n,) of
    IoU > 0.5 with a true crystal."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(len(FEATURES), 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)[:, 0]
