"""How good a segmentation is, against labels or against another one.

In come labels and segmentations, folders of labelled images for the experiments; out go scores, differences, tables
and charts. This room must not know the record, reports or training.
"""

import lazy_loader

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics": ["panoptic_quality", "score"],
        "difference": ["Difference"],
        "comparison": ["Comparison", "compare"],
        "folder": ["evaluate_folder"],
        "validation": ["validate"],
    },
)
