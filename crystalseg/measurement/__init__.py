"""Turn labels into figures.

In come labels, a pixel size and a border rule. Out go a crystals table, size distributions, figures by standard with
their uncertainties, verdicts and control charts. This package must not know where the labels come from: it touches no
network, no file and no page.
"""

import lazy_loader

# Each name is loaded on first use, so that code which only shows results does not need torch.
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
