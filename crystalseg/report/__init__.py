"""Turn measurements into documents, and into files that other programs open.

The input is measured fields, an assessment, and what the user states about the sample. The output is PDF, HTML, Excel,
CSV, TIFF, ROIs, GeoJSON and COCO, all made from the same blocks and words. This package must not know how labels were
made or who reads the report.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader


class _Callable(ModuleType):
    """Let `crystalseg.report` be both this package and the public function `report`, which share one name."""

    def __call__(self, *arguments: Any, **options: Any) -> bytes:
        from crystalseg.report.unrecorded import report

        return report(*arguments, **options)


sys.modules[__name__].__class__ = _Callable

# Loaded on first use, because showing results needs no torch.
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
