"""Synthetic micrographs with exact labels: for training, for tests, and for trying the tool.

In come seeds, a `Structure` (where crystals are) and a `Look` (how the microscope shows them), both drawn at random
unless given; out go images with labels. This room must not know who learns from them or is tested on them.
"""

import lazy_loader

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "drawing": ["Synthetic", "draw"],
        "structure": ["Structure", "random_structure"],
        "appearance": ["Look", "random_look"],
        "sets": ["draw_grain", "draw_random"],
    },
)
