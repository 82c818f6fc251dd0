"""Measurements become documents and files that others open.

In come measured fields, an assessment and what a user says of the sample; out go PDF, HTML, Excel, CSV, TIFF, ROIs,
GeoJSON and COCO, all from the same blocks and words. This room must not know how labels were made, nor who reads it.
"""

import lazy_loader

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
