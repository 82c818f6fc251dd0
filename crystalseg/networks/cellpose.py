"""CPNet: Cellpose's residual U-Net with a style vector (Stringer et al. 2021; paper section III-A).

Sub-module names follow the state dict of Cellpose 2 and 3, so that weights can be exchanged in both directions.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = (32, 64, 128, 256)
STYLE = CHANNELS[-1]


def conv_block(inputs: int, outputs: int, size: int, *, relu: bool = True) -> nn.Sequential:
    """Return batch norm, ReLU and convolution, in this order (pre-activation)."""
    norm = nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05)
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    return nn.Sequential(norm, nn.ReLU(), conv) if relu else nn.Sequential(norm, conv)


class _Down(nn.Module):
    """Two residual pairs of 3 x 3 convolutions."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential()
        for i in range(4):
            self.conv.add_module(f"conv_{i}", conv_block(inputs if i == 0 else outputs, outputs, 3))
        self.proj = conv_block(inputs, outputs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(x) + self.conv[1](self.conv[0](x))
        return x + self.conv[3](self.conv[2](x))


class _StyledConv(nn.Module):
    """A convolution whose input is shifted by a linear map of the style vector."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv_block(channels, channels, 3)
        self.full = nn.Linear(STYLE, channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return self.conv(x + self.full(style)[:, :, None, None])


class _Up(nn.Module):
    """Two residual pairs of 3 x 3 convolutions; the skip connection is added, not concatenated."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential()
        self.conv.add_module("conv_0", conv_block(inputs, outputs, 3))
        for i in (1, 2, 3):
            self.conv.add_module(f"conv_{i}", _StyledConv(outputs))
        self.proj = conv_block(inputs, outputs, 1, relu=False)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.proj(x) + self.conv[1](self.conv[0](x) + skip, style)
        return x + self.conv[3](self.conv[2](x, style), style)


class Encoder(nn.Module):
    """The encoder: features of each level, (B, CHANNELS[k], H / 2^k, W / 2^k), from (B, inputs, H, W)."""

    def __init__(self, inputs: int):
        super().__init__()
        self.down = nn.Sequential()
        for i, (before, after) in enumerate(zip((inputs, *CHANNELS[:-1]), CHANNELS, strict=True)):
            self.down.add_module(f"res_down_{i}", _Down(before, after))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [self.down[0](x)]
        for block in self.down[1:]:
            features.append(block(functional.max_pool2d(features[-1], 2)))
        return features


class Decoder(nn.Module):
    """The decoder: from the features of each level and the style (B, STYLE) to (B, CHANNELS[0], H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Sequential()
        for i, (before, after) in enumerate(zip((*CHANNELS[1:], CHANNELS[-1]), CHANNELS, strict=True)):
            self.up.add_module(f"res_up_{i}", _Up(before, after))

    def forward(self, features: list[Tensor], style: Tensor) -> Tensor:
        x = self.up[-1](features[-1], features[-1], style)
        for block, skip in zip(reversed(self.up[:-1]), reversed(features[:-1]), strict=True):
            x = block(functional.interpolate(x, scale_factor=2, mode="nearest"), skip, style)
        return x


class CPNet(nn.Module):
    """Flow and foreground from an image; 6,601,169 parameters with three input channels.

    `forward` takes float (B, C, H, W), percentile-normalised (about 0..1), H and W multiples of 8, and returns
    (B, 3, H, W): 5 × the flow's dy and dx, and the foreground logit; and the style vectors (B, 256), unit length.
    """

    def __init__(self, inputs: int = 3, outputs: int = 3, diameter: float = 50.0):
        super().__init__()
        self.downsample = Encoder(inputs)
        self.upsample = Decoder()
        self.output = conv_block(CHANNELS[0], outputs, 1)
        # Cellpose stores the training diameters (px) with the weights.
        self.diam_mean = nn.Parameter(torch.full((1,), diameter), requires_grad=False)
        self.diam_labels = nn.Parameter(torch.full((1,), diameter), requires_grad=False)

    @property
    def inputs(self) -> int:
        """Number of input channels: 3 here, 2 in Cellpose's own models."""
        return cast(nn.Conv2d, self.get_submodule("downsample.down.res_down_0.conv.conv_0.2")).in_channels

    @staticmethod
    def style(features: Tensor) -> Tensor:
        """Return the unit-length mean of the deepest features: (B, 256, h, w) -> (B, 256)."""
        mean = features.mean(dim=(2, 3))
        return mean / mean.square().sum(dim=1, keepdim=True).sqrt()

    def maps(self, x: Tensor) -> Tensor:
        """Return the output of `forward` without the styles. All flow networks have this method."""
        return self(x)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.downsample(x)
        style = self.style(features[-1])
        return self.output(self.upsample(features, style)), style
