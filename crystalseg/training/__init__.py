"""Turn labelled images into weights.

In come folders of labelled images and the synthetic generator; out go weights files with a card that says what they
were trained on. All networks share one loop, and each has one short file. This room must not know the record, reports
or pages.
"""

import lazy_loader

# The networks that can be trained, by the name of their weights (`plan.TRAIN`).
NETWORKS = (
    *("cellpose", "folded", "efficientnet", "sima", "sima-sa2", "size"),
    *("confidence", "folded-confidence", "efficientnet-confidence", "clicks", "boundary", "boundary-sa2"),
    *("mask-r-cnn", "mask2former"),
)

# Names are loaded on first use, so that code which only shows results runs without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "loop": ["Schedule", "TrainingArguments"],
    },
)
