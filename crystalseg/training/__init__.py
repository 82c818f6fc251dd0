"""Labelled images become weights.

In come folders of labelled images and the synthetic generator; out go weights files with a card that says what they
saw. One loop for all networks, one short file a network. This room must not know the record, reports or pages.
"""

import lazy_loader

# What can be trained, by the name of its weights (`plan.TRAIN`).
NETWORKS = (
    *("cellpose", "folded", "efficientnet", "sima", "sima-sa2", "size"),
    *("confidence", "folded-confidence", "efficientnet-confidence", "clicks", "boundary", "boundary-sa2"),
    *("mask-r-cnn", "mask2former"),
)

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "loop": ["Schedule", "TrainingArguments"],
    },
)
