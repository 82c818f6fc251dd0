"""Crystal size measurement from micrographs (Cellpose + size-aware multi-scale attention, arXiv 2401.03939).

Public are the names in `__all__`: their meaning changes only with a new minor version, and CHANGELOG.md says so. All
else is private by convention and may change with any version, although the rooms can be imported: docs/architecture.md
shows them in the order in which an image travels. Nothing heavy is loaded before one of the names is used.

>>> from crystalseg import Settings, load_models, measure, read_micrograph, report, segment
>>> from crystalseg.micrographs.examples import FOLDER
>>> micrograph = read_micrograph(FOLDER / "etched-metal-light-microscope.png")
>>> segmentation = segment(micrograph, Settings(effort="quick"), load_models())
>>> result = measure(segmentation.labels, micrograph.um_per_px, "exclude", segmentation.confidence)
>>> result.summary.counted > 0
True
>>> report(micrograph, segmentation).startswith(b"%PDF")
True
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from crystalseg.execution.teaching import teach as teach
    from crystalseg.measurement.measurement import measure as measure
    from crystalseg.micrographs.decoding import read_micrograph as read_micrograph
    from crystalseg.report.unrecorded import report as report
    from crystalseg.segmentation.models import load_models as load_models
    from crystalseg.segmentation.pipeline import segment as segment
    from crystalseg.segmentation.settings import Settings as Settings

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["report"],  # the room, which is a function too
    submod_attrs={
        "execution.teaching": ["teach"],
        "measurement.measurement": ["measure"],
        "micrographs.decoding": ["read_micrograph"],
        "segmentation.models": ["load_models"],
        "segmentation.pipeline": ["segment"],
        "segmentation.settings": ["Settings"],
    },
)
