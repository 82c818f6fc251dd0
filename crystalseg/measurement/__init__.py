"""Labels become figures.

In come labels, a pixel size and a border rule; out go a table of crystals, distributions, figures by standard, their
uncertainty, verdicts and control charts. This room must not know where labels come from: no network, no file, no
page.
"""

import lazy_loader

# Loaded when asked for: what only shows results does without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "measurement": ["Measurement", "measure"],
        "crystals": ["measure_crystals"],
        "distribution": ["Summary", "summarise"],
        "field": ["Field"],
        "assessment": ["Assessment", "assess"],
        "specification": ["Limit", "Verdict"],
        "uncertainty": ["Budget", "Validation"],
    },
)
