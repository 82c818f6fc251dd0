"""The networks: tensors in, tensors out.

In come float tensors (B, C, H, W) or weights files; out go tensors, and weights files as safetensors. This room must
not know images, tiles, devices or settings.
"""

from crystalseg.places import WEIGHTS

DIRECTORY = WEIGHTS
