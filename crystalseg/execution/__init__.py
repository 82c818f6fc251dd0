"""Runs are carried out: one image by the queue and its worker, many by Dask.

In come micrographs, settings, profiles; out go results, on record and as files. This room must not know pages or the
command line: both ask it for the same things.
"""

import lazy_loader

# Names are loaded on first use, so that code which only shows results does not import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "one_image": ["measure_micrograph"],
        "result": ["Documented", "Result", "conclude", "documented"],
        "queue": ["Job", "Queue"],
        "corrected": ["Corrected"],
    },
)
