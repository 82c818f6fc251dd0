"""Runs are carried out: one image by the queue and its worker, many by Dask.

In come micrographs, settings, profiles; out go results, on record and as files. This room must not know pages or the
command line: both ask it for the same things.
"""

import lazy_loader

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "one_image": ["measure_micrograph"],
        "result": ["Documented", "Result", "conclude", "documented"],
        "queue": ["Job", "Queue"],
        "corrected": ["Corrected"],
    },
)
