"""ClickNet: the crystal under a click, whatever its size.

After MST (arXiv 2401.04403): a small vision transformer sees windows around the click at several resolutions. The
tokens of each resolution also attend to those tokens of the next finer and coarser resolution that resemble the clicked
tokens most. A triplet loss teaches the tokens of the crystal to resemble the clicked ones more than other tokens do.
Unlike in the paper, every resolution proposes a mask and rates it, instead of one resolution being chosen beforehand.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from crystalseg.networks.cellpose import conv_block

SIDE = 80  # px; side of a window, at every resolution
# Channels of a window: picture (3), flow (2), foreground, outline, clicks inside, clicks outside, previous mask.
CHANNELS = 10
INSIDE, OUTSIDE, BEFORE = 7, 8, 9
WIDTHS = (16, 32, 64, 96)  # at 1, 1/2, 1/4 and 1/8 of the window's resolution; the last is that of the tokens
PATCH = 8  # px; side of a token
TAKEN = 24  # of 100 tokens, taken from the finer and from the coarser window
BLOCKS = 3
HEADS = 4


class ClickNet(nn.Module):
    """Masks from windows around a click; 700,614 parameters.

    `forward` takes float (B, K, CHANNELS, SIDE, SIDE), windows at K resolutions an octave apart, coarsest first. It
    returns mask logits (B, K, SIDE, SIDE), the logit of each mask's IoU (B, K), and the similarity of each token to the
    clicked tokens (B, K, tokens), -1..1. `helped` false: each resolution works alone, to measure what the others add.
    """

    def __init__(self, helped: bool = True) -> None:
        super().__init__()
        self.helped = helped
        before = (CHANNELS, *WIDTHS[:-1])
        self.down = nn.ModuleList(_twice(b, w) for b, w in zip(before, WIDTHS, strict=True))
        tokens = (SIDE // PATCH) ** 2
        self.place = nn.Parameter(0.02 * torch.randn(tokens, WIDTHS[-1]))
        self.kind = nn.Parameter(0.02 * torch.randn(2, WIDTHS[-1]))  # finer, coarser
        self.likeness = nn.Linear(WIDTHS[-1], WIDTHS[-1])
        self.blocks = nn.ModuleList(_Block(WIDTHS[-1]) for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTHS[-1])
        self.quality = nn.Sequential(nn.Linear(2 * WIDTHS[-1], 64), nn.GELU(), nn.Linear(64, 1))
        self.up = nn.ModuleList(_twice(b + w, w) for w, b in pairwise(WIDTHS))
        self.mask = conv_block(WIDTHS[0], 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count, levels = x.shape[:2]
        clicked = _tokens(functional.max_pool2d(x[:, :, INSIDE].flatten(0, 1)[:, None], PATCH))
        share = clicked / clicked.sum(dim=1, keepdim=True).clamp(min=1e-6)  # (B K, tokens, 1): share of the clicks
        features = []
        y = x.flatten(0, 1)
        for depth, block in enumerate(self.down):
            y = block(functional.max_pool2d(y, 2) if depth else y)
            features.append(y)
        tokens = _tokens(y) + self.place
        alike = self._alike(tokens, share)
        helpers = tokens[:, :0]
        if self.helped:
            helpers = self._helpers(tokens.unflatten(0, (count, levels)), alike.unflatten(0, (count, levels)))
        for block in self.blocks:
            tokens = block(tokens, helpers)
        tokens = self.norm(tokens)
        quality = self.quality(torch.cat(((tokens * share).sum(dim=1), tokens.mean(dim=1)), dim=1))
        y = tokens.transpose(1, 2).unflatten(2, y.shape[-2:])
        for feature, block in zip(reversed(features[:-1]), reversed(self.up), strict=True):
            y = block(torch.cat((functional.interpolate(y, scale_factor=2.0), feature), dim=1))
        shape = count, levels
        return self.mask(y)[:, 0].unflatten(0, shape), quality[:, 0].unflatten(0, shape), alike.unflatten(0, shape)

    def _alike(self, tokens: Tensor, share: Tensor) -> Tensor:
        """Return the cosine of each token, (B, tokens, dim), with the mean of the clicked ones: (B, tokens)."""
        said = functional.normalize(self.likeness(tokens), dim=2)
        return (said * functional.normalize((said * share).sum(dim=1, keepdim=True), dim=2)).sum(dim=2)

    def _helpers(self, tokens: Tensor, alike: Tensor) -> Tensor:
        """Return the tokens of the neighbouring resolutions that resemble the clicked ones most: (B K, 2 TAKEN, dim).
        The choice of tokens cannot be learnt, but each is weighted by its similarity, through which the gradient
        flows."""
        best = alike.topk(TAKEN, dim=2)
        index = best.indices[..., None].expand(-1, -1, -1, tokens.shape[-1])
        taken = tokens.gather(2, index) * best.values[..., None].sigmoid()
        nothing = torch.zeros_like(taken[:, :1])
        finer = torch.cat((taken[:, 1:], nothing), dim=1) + self.kind[0]
        coarser = torch.cat((nothing, taken[:, :-1]), dim=1) + self.kind[1]
        return torch.cat((finer, coarser), dim=2).flatten(0, 1)


class _Block(nn.Module):
    """Attention of a window's tokens to themselves and to their helpers, followed by an MLP on each token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(dim)
        self.helped = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, HEADS, batch_first=True)
        self.mix = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, tokens: Tensor, helpers: Tensor) -> Tensor:
        own = self.before(tokens)
        seen = torch.cat((own, self.helped(helpers)), dim=1)
        tokens = tokens + self.attention(own, seen, seen, need_weights=False)[0]
        return tokens + self.mix(tokens)


def _tokens(maps: Tensor) -> Tensor:
    """Reshape (B, dim, h, w) to (B, h w, dim)."""
    return maps.flatten(2).transpose(1, 2)


def _twice(before: int, after: int) -> nn.Module:
    # the input is signed, so no activation clips it
    return nn.Sequential(conv_block(before, after, 3, relu=before != CHANNELS), conv_block(after, after, 3))
