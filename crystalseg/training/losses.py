"""What losses share."""

from torch import Tensor


def mean_of_valid(loss: Tensor, valid: Tensor) -> Tensor:
    """Mean of a loss per pixel (B, C, H, W) over all maps and the pixels where `valid` (B, 1, H, W) is 1, not 0; 0 if
    there are none."""
    return (loss * valid).sum() / (loss.shape[1] * valid.sum().clamp(min=1))
