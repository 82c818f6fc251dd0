"""`segment`: the one pipeline from a Micrograph to a Segmentation, for every method (paper section III, figure 2)."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from crystalseg.micrographs.labels import areas, filled, hollowed, keep_labels
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.confidence import Confidence
from crystalseg.segmentation import baselines, cellpose_package, hub, mosaic, sima_plus
from crystalseg.segmentation.attention import regroup
from crystalseg.segmentation.fusion import fuse
from crystalseg.segmentation.instances import instances
from crystalseg.segmentation.memory import give_back
from crystalseg.segmentation.methods import HUB, METHODS, PACKAGE, PROMPTED, method_of
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.mosaic import BandCache, Compute
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.pyramid import Pyramid, predict_scales
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Settings, SettingsError


def segment(
    micrograph: Micrograph,
    settings: Settings,
    models: Models | None,
    progress: Callable[[Progress], None] = lambda _: None,
    pyramid: Pyramid | None = None,
    compute: Compute | None = None,
    kept: BandCache | None = None,
) -> Segmentation:
    """Segment the crystals of a micrograph by one of methods.METHODS.

    Returns a `Segmentation`, whose settings name the resize factors that were used. Methods without a flow network
    leave the flow zero. For images larger than mosaic.WHOLE px, SiMA+ keeps no maps. Other methods raise SettingsError
    for images larger than mosaic.MOST px.

    `progress` is called after every batch of tiles and every stage; it may raise `Cancelled`. `pyramid`: an existing
    pyramid of this image. `models` may be None for methods that need no network. `compute`, `kept`: see `mosaic.run`.

    >>> import numpy as np
    >>> from crystalseg import Settings, load_models, read_micrograph, segment
    >>> from crystalseg.micrographs.examples import FOLDER
    >>> micrograph = read_micrograph(FOLDER / "etched-metal-light-microscope.png")
    >>> segmentation = segment(micrograph, Settings(effort="quick"), load_models())
    >>> segmentation.labels.shape == micrograph.shape
    True
    >>> len(segmentation.confidence) == len(np.unique(segmentation.labels)) - 1  # less the background
    True
    """
    pixels = math.prod(micrograph.shape)
    if pixels > mosaic.MOST and not method_of(settings.method).selects:
        raise SettingsError(
            f"An image of {pixels / 1e6:.0f} megapixels is a mosaic, which only SiMA+ can segment. For another method, "
            f"crop it to {mosaic.MOST / 1e6:.0f} megapixels."
        )
    if pixels > mosaic.WHOLE and settings.instances.holes == "kept":
        raise SettingsError(
            f"An image of {pixels / 1e6:.0f} megapixels is a mosaic, in which the holes of crystals are always filled. "
            "Choose filled holes, or crop it."
        )
    clock = Clock()
    run = RUNS[settings.method.partition(":")[0]]
    pyramid = pyramid or Pyramid(models, micrograph.pixels)
    # Limits are computed from the colour image, so a network with two channels still uses all of it.
    if pixels > mosaic.WHOLE and method_of(settings.method).selects and pyramid.takes_colour(settings.architecture):
        run = partial(mosaic.run, compute=compute, kept=kept)
    try:
        segmentation = _with_holes(run(pyramid, settings, clock, progress))
        exact = method_of(settings.method).as_cellpose and settings.instances.checks_flow
        device = pyramid.device_words(exact) if settings.networks else ""
    finally:
        pyramid.restore()
    give_back()
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    hashes, versions = models.used_by(settings) if models else ({}, {})
    hashes, versions = hashes | segmentation.hashes, versions | segmentation.versions
    return replace(segmentation, timings=clock.timings, hashes=hashes, versions=versions, device=device)


def _by_fusion(
    pyramid: Pyramid, settings: Settings, clock: Clock, progress: Callable[[Progress], None]
) -> Segmentation:
    """Fuse the flows of the scales and trace the result (paper section III-B)."""
    choice = settings.scales
    factors = settings.ladder(pyramid.shape)
    shares: list[np.ndarray | None] = [None] * len(factors)
    attention = None
    method = METHODS[settings.method]
    if method.attention:
        progress(Progress("attention", 0, 1, 0.0))
        attention = regroup(
            pyramid.attention(method.attention), pyramid.models.levels_of(method.attention), choice.levels
        )
        shares = list(attention[:-1] / np.maximum(attention[:-1].sum(axis=0), 1e-6))
        clock.lap("attention")
    scales = predict_scales(pyramid, "cellpose", factors, shares, choice.tile_relevance, clock, progress)
    progress(Progress("fusion", 0, 1, 0.96))
    fused = fuse(scales, attention, pyramid.shape, method.fusion)
    clock.lap("fusion")
    progress(Progress("crystals", 0, 1, 0.98))
    labels, confidence = instances(fused, settings.instances)
    return Segmentation(labels, confidence, fused, scales, attention, settings)


# The function that runs each method.
RUNS: dict[str, Callable[[Pyramid, Settings, Clock, Callable[[Progress], None]], Segmentation]] = {
    "sima-plus": sima_plus.run,
    "sima": _by_fusion,
    "sima-sa2": _by_fusion,
    "cellpose-multiscale": _by_fusion,
    "cellpose-maximum": _by_fusion,
    "cellpose-original": baselines.original,
    "cellpose-noresize": baselines.no_resize,
    "two-scale": baselines.two_scale,
    "boundary": baselines.boundary,
    "boundary-sa2": baselines.boundary,
    "watershed": baselines.watershed_of_distance,
    PACKAGE: cellpose_package.run,
    HUB: hub.run,
    PROMPTED: hub.run_prompted,
}


def rethreshold(
    segmentation: Segmentation, pixels: np.ndarray, choice: Instances, confidence: Confidence | None
) -> Segmentation:
    """Apply other thresholds to a run on the same `pixels`, uint8 (H, W, 3), using the kept maps. The flow network does
    not run again. `confidence`: needed for SiMA+, unless only the lowest confidence rises.

    Methods without a flow field have no foreground threshold to change. For them, crystals that are too small or not
    confident enough are dropped from the labels of the run.
    """
    settings = replace(segmentation.settings, instances=choice)
    if segmentation.settings.instances.holes != choice.holes:
        segmentation = replace(segmentation, labels=filled(segmentation.labels))
    if method_of(settings.method).selects:
        return _with_holes(sima_plus.rethreshold(segmentation, pixels, settings, confidence))
    if settings.method == "two-scale":
        labels, sure = baselines.two_scale_labels(segmentation.scales, segmentation.labels.shape, choice)
    elif segmentation.scales:
        labels, sure = instances(segmentation.fused, choice, method_of(settings.method).as_cellpose)
    else:
        kept = areas(segmentation.labels)[1:] >= choice.min_area
        labels, sure = keep_labels(segmentation.labels, kept), segmentation.confidence[kept]
    return _with_holes(replace(segmentation, labels=labels, confidence=sure, settings=settings))


def _with_holes(segmentation: Segmentation) -> Segmentation:
    """The same with its crystals' holes, if these are to be kept: every method fills them."""
    choice = segmentation.settings.instances
    if choice.holes == "filled" or segmentation.ladder:
        return segmentation
    ground = segmentation.fused.foreground > choice.foreground_threshold
    return replace(segmentation, labels=hollowed(segmentation.labels, ground, choice.min_area))
