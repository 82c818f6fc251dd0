"""Crystal size measurement from micrographs (Cellpose + size-aware multi-scale attention, arXiv 2401.03939).

Nothing heavy is imported here: take what you need from the modules, e.g. `from crystalseg.pipeline import segment`.
"""

__version__ = "0.1.0"
