"""Crystal size measurement from micrographs (Cellpose + size-aware multi-scale attention, arXiv 2401.03939).

Nothing heavy is imported here: take what you need from the rooms, e.g. `from crystalseg.segmentation import segment`.
docs/architecture.md shows them in the order in which an image travels.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"execution.teaching": ["teach"]})
