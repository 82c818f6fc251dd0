"""Micrographs become segmentations: one road, many methods.

In come a `Micrograph`, `Settings` and `Models`; out goes a `Segmentation`: labels with the maps that led to them,
what can be looked at in it, and what corrections by hand make of it. This room must not know files, record or pages.
"""

import lazy_loader

# Loaded when asked for: what only shows results does without torch.
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
