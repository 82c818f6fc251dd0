"""Boundary network: lines between crystals and the ground they lie on, after Yu et al. (paper section IV-B)."""

from torch import nn


def build_boundary() -> nn.Module:
    """A U-Net on the Mix Vision Transformer B0, as SiMA; 5,549,634 parameters.

    Takes float (B, 3, H, W), percentile-normalised, H and W multiples of 32; returns logits (B, 2, H, W): boundary line
    of 5 px, and foreground (crystals with the lines between them).
    """
    import segmentation_models_pytorch as smp  # takes as long to import as torch, and SiMA+ does without

    return smp.Unet("mit_b0", encoder_weights=None, classes=2)
