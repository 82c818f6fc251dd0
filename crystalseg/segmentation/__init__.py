"""Turn micrographs into segmentations: one pipeline, many methods.

The input is a `Micrograph`, `Settings` and `Models`. The output is a `Segmentation`: the labels with the maps they come
from, the layers for inspecting it, and corrections by hand. This package must not know files, the record or pages.
"""

import lazy_loader

# Loaded on first use, because showing results needs no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pipeline": ["rethreshold", "segment"],
        "scales": ["Scales", "SettingsError"],
        "settings": ["Instances", "Measuring", "Settings"],
        "methods": ["METHODS"],
        "models": ["Models", "load_models"],
        "segmentation": ["Segmentation"],
        "progress": ["Cancelled", "Progress"],
    },
)
