"""Measure how good a segmentation is, against labels or against another segmentation.

The input is labels and segmentations, and folders of labelled images for experiments. The output is scores,
differences, tables and charts. This package must not know the record, reports or training.
"""

import lazy_loader

# Loaded on first use, because showing results needs no torch.
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
