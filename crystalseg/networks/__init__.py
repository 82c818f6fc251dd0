"""The networks: tensors in, tensors out.

The input is float tensors (B, C, H, W), or weights files. The output is tensors, and weights files as safetensors. This
package must not know images, tiles, devices or settings.
"""

from crystalseg.places import WEIGHTS

DIRECTORY = WEIGHTS
