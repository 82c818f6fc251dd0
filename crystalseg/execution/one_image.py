"""The main path from a prepared micrograph to its result. Worker, batch and command line all use it."""

from collections.abc import Callable

from crystalseg.execution.result import Result
from crystalseg.measurement.measurement import measure
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.memory import give_back
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.mosaic import BandCache, Compute
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.progress import Progress
from crystalseg.segmentation.settings import Settings


def measure_micrograph(
    micrograph: Micrograph,
    settings: Settings,
    models: Models,
    progress: Callable[[Progress], None] = lambda _: None,
    compute: Compute | None = None,
    kept: BandCache | None = None,
) -> Result:
    """Segment a micrograph, measure its crystals and sum them up. `progress`, `compute` and `kept` are as for
    `segment`."""
    segmentation = segment(micrograph, settings, models, progress, compute=compute, kept=kept)
    measurement = measure(
        segmentation.labels,
        micrograph.um_per_px,
        settings.measuring.border_rule,
        segmentation.confidence,
        only=settings.measuring.only,
        pixels=micrograph.pixels,
        convention=settings.measuring.convention,
    )
    give_back()
    return Result(micrograph, segmentation, measurement)
