"""FoldedCPNet: a CPNet that works at half resolution, with a thin stem at full resolution.

CPNet spends most of its work at full resolution, on 32 channels. Here the image is folded 2 × 2 into channels
(`pixel_unshuffle`, Shi et al. 2016, arXiv 1609.05158), so the same layers cost a quarter and see twice as far. Their
output is unfolded and refined by a few channels at full resolution, which preserves boundaries of 2 px and crystals of
8 px.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from crystalseg.networks.cellpose import CHANNELS, CPNet, Decoder, Encoder, conv_block

STEM = 16  # channels at full resolution


class FoldedCPNet(nn.Module):
    """Flow, foreground and outlines from an image; 6,611,332 parameters, a quarter of CPNet's work.

    `forward` takes float (B, 3, H, W), percentile-normalised (about 0..1), H and W multiples of 16, and returns
    (B, 4, H, W): 5 × the flow's dy and dx, the foreground logit, and the logit of lying on a crystal's outline.
    """

    inputs = 3

    def __init__(self) -> None:
        super().__init__()
        self.downsample = Encoder(3 * 4)
        self.upsample = Decoder()
        self.fine = nn.Conv2d(3, STEM, 3, padding=1)
        self.unfold = conv_block(CHANNELS[0], 4 * STEM, 1)
        self.sharpen = conv_block(2 * STEM, STEM, 3)
        self.output = conv_block(STEM, 4, 1)

    def maps(self, x: Tensor) -> Tensor:
        """Return the output of `forward`. All flow networks have this method."""
        return self(x)

    def forward(self, x: Tensor) -> Tensor:
        features = self.downsample(functional.pixel_unshuffle(x, 2))
        coarse = self.upsample(features, CPNet.style(features[-1]))
        coarse = functional.pixel_shuffle(self.unfold(coarse), 2)
        return self.output(coarse + self.sharpen(torch.cat((coarse, self.fine(x)), dim=1)))
