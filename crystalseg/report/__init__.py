"""Measurements become documents and files that others open.

In come measured fields, an assessment and what a user says of the sample; out go PDF, HTML, Excel, CSV, TIFF, ROIs,
GeoJSON and COCO, all from the same blocks and words. This room must not know how labels were made, nor who reads it.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader


class _Callable(ModuleType):
    """`crystalseg.report` is this room and the public function `report`: a package cannot hold two things of a name."""

    def __call__(self, *arguments: Any, **options: Any) -> bytes:
        from crystalseg.report.unrecorded import report

        return report(*arguments, **options)


sys.modules[__name__].__class__ = _Callable

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "report": ["Details", "Part", "Report", "make", "report_of"],
        "pdf": ["build_pdf"],
        "html": ["build_html"],
        "workbook": ["build_workbook"],
        "exports": ["csv", "labels_tiff"],
    },
)
