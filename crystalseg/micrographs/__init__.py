"""Turn bytes into micrographs, here and nowhere else.

In come files or bytes; out go `Micrograph`s (8-bit RGB with name, hash and pixel size), label images, and what a
microscope wrote into an image: its data bar and scale bar. This room must not know what is done with an image.
"""

import lazy_loader

# Names are loaded on first use, so that code which only shows results runs without torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "micrograph": ["Micrograph", "MicrographError"],
        "decoding": ["read_micrograph"],
        "pairs": ["read_labels", "read_pairs", "write_pair"],
        "calibration": ["Calibration"],
        "preparation": ["prepared"],
    },
)
