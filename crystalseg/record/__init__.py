"""What was measured is kept here, and cannot be changed unnoticed.

In come runs, corrections, approvals, profiles, calibrations and reports; out they go again as they were written,
after years, and can be computed again. This room must not know pages, queues or how a report looks.
"""

import lazy_loader

# Names are loaded on first use, so that code which only shows results does not import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "database": ["open_database"],
        "runs": ["Run", "record", "recorded"],
        "reopening": ["Reopened", "reopen"],
        "profiles": ["Profile"],
        "instruments": ["Instrument"],
        "store": ["StoreError"],
    },
)
