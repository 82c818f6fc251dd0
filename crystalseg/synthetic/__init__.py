"""Synthetic micrographs with exact labels: for training, for tests, and for trying the tool.

In come seeds, a `Structure` (where the crystals are) and a `Look` (how the microscope shows them). Structure and look
are drawn at random unless they are given. Out go images with labels. This room must not know who learns from them or is
tested on them.
"""

import lazy_loader

# Names are loaded on first use, so that code which only shows results runs without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "drawing": ["Synthetic", "draw"],
        "structure": ["Structure", "random_structure"],
        "appearance": ["Look", "random_look"],
        "sets": ["draw_grain", "draw_random"],
    },
)
