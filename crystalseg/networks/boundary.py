"""The boundary network: lines between crystals, and the ground they lie on, after Yu et al. (paper section IV-B)."""

from torch import nn


def build_boundary() -> nn.Module:
    """Return a U-Net on the Mix Vision Transformer B0, as in SiMA; 5,549,634 parameters.

    It takes float (B, 3, H, W), percentile-normalised, H and W multiples of 32, and returns logits (B, 2, H, W):
    boundary lines of 5 px, and foreground (crystals with the lines between them).
    """
    import segmentation_models_pytorch as smp  # as slow to import as torch, and SiMA+ does not need it

    return smp.Unet("mit_b0", encoder_weights=None, classes=2)
