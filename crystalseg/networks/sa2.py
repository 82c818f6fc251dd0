"""SA2-Net: scale-aware attention between encoder and decoder (Fiaz et al. 2023, arXiv 2309.16661).

This is a U-Net whose skip connections interact. Each level is weighted by the response of filters of two sizes (local)
and by a gate that all levels decide on together (global). Before the decoder takes from a level, it looks far around
with large kernels. This version has all parts of the published network except dropout, but fewer channels and half the
resolution: the image is folded 2 × 2 into channels, as in FoldedCPNet, because a training step at full resolution takes
six times as long as one of SiMA on mit_b0.
"""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 34  # of the finest level; gives as many parameters as SiMA on mit_b0, the paper's 64 gives 3.5 times as many
WIDTHS = (1, 2, 4, 8, 8)  # of each level, in multiples of CHANNELS
FOLD = 2  # px; side of a square whose pixels become channels
_COMMON = 2  # the level at whose size all levels are compared


class SA2Net(nn.Module):
    """A network that makes `outputs` maps of an image; 5,508,164 parameters with five.

    `forward` takes float (B, 3, H, W), percentile-normalised, H and W multiples of 32, and returns logits
    (B, outputs, H, W).
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        widths = [factor * CHANNELS for factor in WIDTHS]
        self.encoder = nn.ModuleList([_convolved(3 * FOLD**2, widths[0])])
        self.encoder.extend(_twice(before, after) for before, after in pairwise(widths))
        self.same = nn.ModuleList([nn.Identity(), *(nn.Conv2d(w, CHANNELS, 3, padding=1) for w in widths[1:4])])
        self.deepest = nn.Conv2d(widths[4], widths[4], 3, padding=1)
        self.attention = ScaleAwareAttention(CHANNELS, widths[:4])
        after = [widths[0], *widths[:3]]  # channels after each upward step
        self.up = nn.ModuleList(UpAttention(w, out) for w, out in zip(widths[:4], after, strict=True))
        self.heads = nn.ModuleList(nn.Conv2d(out, outputs * FOLD**2, 1) for out in after)

    @staticmethod
    def shaped(state: Mapping[str, Tensor]) -> "SA2Net":
        """Return a network of the architecture of these weights, without loading them."""
        return SA2Net(len(state["heads.0.bias"]) // FOLD**2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.heads[0](self._decoded(x)[0]), FOLD)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Return the maps from each of the decoder's four levels, finest first, all (B, outputs, H, W); the paper
        supervises all of them."""
        found = zip(self.heads, self._decoded(x), strict=True)
        return [_at(functional.pixel_shuffle(head(features), FOLD), x.shape[-2:]) for head, features in found]

    def _decoded(self, x: Tensor) -> list[Tensor]:
        x = functional.pixel_unshuffle(x, FOLD)
        levels = []
        for depth, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if depth else x)
            levels.append(x)
        skips = self.attention([same(level) for same, level in zip(self.same, levels[:4], strict=True)])
        x = self.deepest(levels[4])
        decoded: list[Tensor] = []
        for up, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = up(x, skip)
            decoded.insert(0, x)
        return decoded


class ScaleAwareAttention(nn.Module):
    """Converts levels, float (B, channels, h, w), finest first, to (B, width, h, w) each (the paper's SA2 module)."""

    def __init__(self, channels: int, widths: list[int]) -> None:
        super().__init__()
        self.channels = channels
        self.local = nn.ModuleList(LocalAttention(channels) for _ in widths)
        together = channels * len(widths)
        self.gate = nn.Sequential(
            nn.BatchNorm2d(together), nn.Conv2d(together, channels + len(widths), 3, padding=1), nn.GELU()
        )
        self.shared = nn.Sequential(nn.Conv2d(channels, channels, 5, padding=2, groups=channels), nn.GELU())
        self.mix = nn.ModuleList(_Mixed(channels) for _ in widths)
        self.widen = nn.ModuleList(nn.Conv2d(channels, width, 3, padding=1) for width in widths)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        size = levels[_COMMON].shape[-2:]
        local = [attend(_at(level, size)) for attend, level in zip(self.local, levels, strict=True)]
        fused = self.gate(torch.cat(local, dim=1))
        shared, gates = self.shared(fused[:, : self.channels]), fused[:, self.channels :]
        found = []
        for k, (level, here) in enumerate(zip(levels, local, strict=True)):
            seen = _at(here * gates[:, k : k + 1] * shared, level.shape[-2:])
            found.append(self.widen[k](self.mix[k](seen + level)))
        return found


class LocalAttention(nn.Module):
    """Passes the response of 3 px filters where that of 5 px filters agrees; float (B, channels, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.widen = nn.Conv2d(channels, wide, 1)
        self.fine = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.coarse = nn.Conv2d(wide, wide, 5, padding=2, groups=wide)
        self.narrow = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.widen(x)
        return self.narrow(self.fine(x).relu() * self.coarse(x).relu().sigmoid())


class _Mixed(nn.Module):
    """Mixes the channels of a pixel, with a 3 px filter for its position; the result is added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.place = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Sequential(nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.Conv2d(4 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        here = self.norm(x)
        return x + self.mix(here + functional.gelu(self.place(here)))


class UpAttention(nn.Module):
    """Converts decoder features (B, width, h, w) and a level (B, width, 2 h, 2 w) to (B, out, 2 h, 2 w). The features
    around a pixel, 11 px wide, decide where the level matters (the paper's adaptive up-attention)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.around = nn.Sequential(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 11, padding=5, groups=width),
        )
        self.near = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.where = nn.Sequential(nn.GELU(), nn.Conv2d(2 * width, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())
        self.project = nn.Conv2d(width, width, 3, padding=1)
        self.refine = _twice(width, out)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        around = self.around(functional.interpolate(x, scale_factor=2.0))
        near = self.near(level)
        return self.refine(level + self.project(self.where(torch.cat((around, near), dim=1)) * near))


def _convolved(before: int, after: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())


def _twice(before: int, after: int) -> nn.Module:
    return nn.Sequential(_convolved(before, after), _convolved(after, after))


def _at(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[-2:] == size else functional.interpolate(x, size=size, mode="bilinear")
