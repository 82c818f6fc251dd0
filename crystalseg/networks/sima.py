"""SiMA: the size-aware multi-scale attention network (paper section III-B1)."""

from torch import nn

SIDE = 224


def build_sima(levels: int = 4, encoder_weights: str | None = None) -> nn.Module:
    """Return a U-Net on the Mix Vision Transformer B0; 5,550,069 parameters at four levels.

    It takes float (B, 3, 224, 224), percentile-normalised and zero-padded to a square, and returns logits
    (B, levels + 1, 224, 224), largest crystals first, background last.

    `encoder_weights="imagenet"` starts from pretrained weights as the paper does. segmentation-models-pytorch downloads
    them, so this needs an internet connection. The shipped weights were trained without them.
    """
    import segmentation_models_pytorch as smp  # as slow to import as torch, and SiMA+ does not need it

    return smp.Unet("mit_b0", encoder_weights=encoder_weights, classes=levels + 1)
