"""The methods SiMA is compared with, behind `segment`'s signature; the name in the settings chooses (settings.METHODS).

All that run a flow network use the same CPNet weights, as in the paper (section IV-B and V-B).
"""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import dilation, disk, remove_small_holes, skeletonize
from skimage.segmentation import watershed

from crystalseg import pipeline
from crystalseg.evaluate.metrics import BOUNDARY_WIDTH, diameters
from crystalseg.flows import keep_labels, tidy
from crystalseg.fusion import NOTHING, Prediction, fuse
from crystalseg.micrograph import Micrograph
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.weights import flow_inputs, load_cellpose_file
from crystalseg.pipeline import Clock, Models, View, instances, needed, predict_scales
from crystalseg.segmentation import Progress, Segmentation
from crystalseg.settings import LADDERS, PACKAGE, Instances, Settings, SettingsError
from crystalseg.tiling import Grid, blend

DIAMETER = 50.0  # px, the paper's d: `cellpose-original` scales the mean crystal to it
LARGEST_ENLARGEMENT = 2.0
# `two-scale`: CPNet at full size for crystals up to the cut (px), at a quarter for larger ones.
TWO_FACTORS, TWO_CUT = (0.25, 1.0), 100.0
BOUNDARY_THRESHOLD = 0.2  # of the line's probability (paper section IV-B)


def segment(
    micrograph: Micrograph,
    settings: Settings,
    models: Models,
    progress: Callable[[Progress], None] = lambda _: None,
    view: View | None = None,
) -> Segmentation:
    """Segment a micrograph by any of settings.METHODS; see `pipeline.segment`. The result's settings name the resize
    factors that were used. Methods without a flow network leave the flow zero."""
    if settings.method in LADDERS:
        return pipeline.segment(micrograph, settings, models, progress, view)
    name, _, model = settings.method.partition(":")
    if name == PACKAGE:
        return _package(micrograph, settings, model, progress)
    if name == "watershed":
        return _watershed(micrograph.pixels, settings, progress)
    return _METHODS[name](view or View(models, micrograph.pixels), settings, progress)


def again(segmentation: Segmentation, pixels: np.ndarray, choice: Instances, confidence: Confidence) -> Segmentation:
    """The same run on the same `pixels` with other choices for instances, without its networks.

    Methods without a flow field have no foreground threshold to change; there only smaller crystals and those of less
    confidence are dropped, from the labels the run gave.
    """
    method = segmentation.settings.method
    if method in LADDERS or method in ("cellpose-original", "cellpose-noresize"):
        return pipeline.again(segmentation, pixels, choice, confidence)
    settings = replace(segmentation.settings, instances=choice)
    if method == "two-scale":
        labels, sure = _two_scale_labels(segmentation.scales, segmentation.labels.shape, choice)
    else:
        area = np.bincount(segmentation.labels.ravel())[1:]
        labels, sure = _kept(segmentation.labels, segmentation.confidence, area >= choice.min_area)
    return replace(segmentation, labels=labels, confidence=sure, settings=settings)


# --- one rescale, or none --------------------------------------------------------------------------------------------


def _at_one_scale(view: View, factor: float, settings: Settings, clock: Clock, progress) -> Segmentation:
    scales = predict_scales(view, [factor], [None], 0.0, clock, progress)
    fused = fuse(scales, None, view.shape, "average")
    clock.lap("fusion")
    labels, sure = instances(fused, settings.instances)
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    used = replace(settings, scales=replace(settings.scales, factors=(factor,), thresholds=()))
    models = view.models
    return Segmentation(labels, sure, fused, scales, None, used, clock.timings, models.hashes, models.versions)


def _no_resize(view: View, settings: Settings, progress) -> Segmentation:
    return _at_one_scale(view, 1.0, settings, Clock(), progress)


def estimate_diameter(view: View) -> float:
    """Mean crystal diameter, px, as Cellpose estimates it (Stringer et al. 2021, Methods).

    The SizeModel on the style of the image as it is, then the diameters found at the scale that follows from it.
    """
    if view.models.size is None:
        guess = DIAMETER  # a user's flow network: only the second step is left
    else:
        grid = view.grid(1.0)
        image = view.resized(1.0)
        styles = [
            view.run(
                lambda x: view.models.flow.style(view.models.flow.downsample(x)[-1]), grid.cut(image, corner)[None]
            )
            for corner in grid.corners
        ]
        style = np.mean(np.concatenate(styles), axis=0, keepdims=True)
        style /= np.sqrt(np.square(style).sum())
        guess = float(np.exp(view.run(view.models.size, style)[0]))
    scale = view.flow(_factor(guess, view))
    fused = Prediction(scale.flow, scale.foreground)
    sizes = diameters(instances(fused, Instances())[0]) / scale.factor
    return float(np.mean(sizes)) if len(sizes) else guess


def _factor(diameter: float, view: View) -> float:
    """The factor that scales `diameter` to DIAMETER, within what the image's size allows."""
    return float(np.clip(DIAMETER / max(diameter, 1e-3), 48 / max(view.shape), LARGEST_ENLARGEMENT))


def _original(view: View, settings: Settings, progress) -> Segmentation:
    clock = Clock()
    progress(Progress("size estimation", 0, 1, 0.0))
    factor = _factor(estimate_diameter(view), view)
    clock.lap("size estimation")
    return _at_one_scale(view, factor, settings, clock, progress)


# --- two scales, divided at one size ---------------------------------------------------------------------------------


def _two_scale(view: View, settings: Settings, progress) -> Segmentation:
    """As ImageGrains combines two Cellpose runs of different diameter (dmair1989/ImageGrains)."""
    clock = Clock()
    scales = predict_scales(view, TWO_FACTORS, [None, None], 0.0, clock, progress)
    labels, sure = _two_scale_labels(scales, view.shape, settings.instances)
    fused = fuse(scales, None, view.shape, "average")
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    used = replace(settings, scales=replace(settings.scales, factors=TWO_FACTORS, thresholds=()))
    models = view.models
    return Segmentation(labels, sure, fused, scales, None, used, clock.timings, models.hashes, models.versions)


def _two_scale_labels(scales, shape: tuple[int, int], choice: Instances) -> tuple[np.ndarray, np.ndarray]:
    """Crystals above the cut from the coarse scale, the others from the fine one where no larger one lies."""
    coarse, fine = (instances(fuse([scale], None, shape, "average"), choice) for scale in scales)
    large, large_sure = _kept(*coarse, diameters(coarse[0]) > TWO_CUT)
    small, small_sure = _kept(*fine, diameters(fine[0]) <= TWO_CUT)
    hidden = np.bincount(small.ravel(), (large > 0).ravel(), minlength=len(small_sure) + 1)[1:]
    small, small_sure = _kept(small, small_sure, hidden < 0.5 * np.bincount(small.ravel())[1:])
    labels = np.where(large > 0, large, np.where(small > 0, small + len(large_sure), 0)).astype(np.int32)
    return labels, np.concatenate((large_sure, small_sure))


def _kept(labels: np.ndarray, sure: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return keep_labels(labels, keep), sure[keep]


# --- lines and thresholds --------------------------------------------------------------------------------------------


def _of_labels(labels: np.ndarray, ground: np.ndarray, settings: Settings, clock: Clock, hashes, versions, progress):
    """A Segmentation without flow: `ground` bool is shown as foreground; every crystal counts as sure."""
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    fused = Prediction(np.zeros((2, *labels.shape), np.float32), np.where(ground, -NOTHING, NOTHING).astype(np.float32))
    sure = np.ones(int(labels.max()), np.float32)
    return Segmentation(labels, sure, fused, (), None, settings, clock.timings, hashes, versions)


def boundary_probability(view: View, progress=lambda _: None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of boundary line and foreground, float32 (H, W) each."""
    network = needed(view.models.boundary, "boundary")
    grid = Grid(*view.shape, multiple=32)  # the encoder halves five times
    done = 0

    def predict(stack: np.ndarray) -> np.ndarray:
        nonlocal done
        done += len(stack)
        progress(Progress("boundary", done, len(grid.corners), 0.9 * done / len(grid.corners)))
        return view.run(lambda x: network(x).sigmoid(), stack)

    line, ground = blend(grid, view.picture(), predict)[0]
    return line, ground


def regions_between(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """4-connected regions of `ground` between lines 5 px wide, labels int32 (H, W) (paper section IV-B).

    `line`: probability, made a skeleton where it exceeds `threshold` and widened again; `ground` bool.
    """
    skeleton = skeletonize(line > threshold)
    lines = dilation(skeleton, disk(BOUNDARY_WIDTH // 2))
    return tidy(label(ground & ~lines, connectivity=1), min_area)


def _boundary(view: View, settings: Settings, progress) -> Segmentation:
    clock = Clock()
    line, ground = boundary_probability(view, progress)
    clock.lap("scale 1")
    labels = regions_between(line, ground > 0.5, BOUNDARY_THRESHOLD, settings.instances.min_area)
    models = view.models
    return _of_labels(labels, ground > 0.5, settings, clock, models.hashes, models.versions, progress)


def _watershed(pixels: np.ndarray, settings: Settings, progress) -> Segmentation:
    """Otsu's threshold, the distance transform's maxima as seeds, watershed (scikit-image)."""
    clock = Clock()
    gray = gaussian(pixels.mean(axis=2), 1.0)
    ground = gray > threshold_otsu(gray) if gray.max() > gray.min() else np.zeros(gray.shape, bool)
    ground = remove_small_holes(ground, max_size=settings.instances.min_area)
    distance = gaussian(ndimage.distance_transform_edt(ground), 1.0)
    peaks = peak_local_max(distance, min_distance=5, labels=label(ground), exclude_border=False)
    seeds = np.zeros(gray.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = tidy(watershed(-distance, seeds, mask=ground), settings.instances.min_area)
    return _of_labels(labels, ground, settings, clock, {}, {}, progress)


# --- the official package --------------------------------------------------------------------------------------------


def _package(micrograph: Micrograph, settings: Settings, model: str, progress) -> Segmentation:
    """A model of the installed cellpose package, version 3 or 4, with its own defaults and our foreground threshold."""
    clock = Clock()
    try:
        package = import_module("cellpose.models")
    except ImportError as error:
        raise SettingsError("The cellpose package is not installed (pip install cellpose).") from error
    version = installed("cellpose")
    path = Path(model)
    if not path.is_file() and model not in (*getattr(package, "MODEL_NAMES", ()), "cpsam"):
        raise SettingsError(f"'{model}' is neither a file nor a model of cellpose {version}.")
    progress(Progress(f"cellpose {version}", 0, 1, 0.0))
    choice = settings.instances
    # Version 3 must be told the number of channels; its own models take gray.
    three = not version.startswith("4") and path.is_file() and flow_inputs(load_cellpose_file(path)) == 3
    make = {"nchan": 3} if three else {}
    channels = {"channels": [0, 0]} if not three and not version.startswith("4") else {}
    try:
        network = package.CellposeModel(pretrained_model=str(path.resolve()) if path.is_file() else model, **make)
        masks, flows, _ = network.eval(
            micrograph.pixels, cellprob_threshold=choice.foreground_threshold, min_size=choice.min_area, **channels
        )
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise SettingsError(f"cellpose {version} could not use '{model}' ({error}).") from error
    clock.lap("cellpose")
    labels = tidy(masks, choice.min_area)
    flow, foreground = np.asarray(flows[1], np.float32), np.asarray(flows[2], np.float32)
    fused = Prediction(flow / 5, foreground)
    sure = pipeline.confidences(labels, fused)
    clock.lap("crystals")
    progress(Progress("done", 1, 1, 1.0))
    return Segmentation(labels, sure, fused, (), None, settings, clock.timings, {}, {"cellpose package": version})


_METHODS = {
    "cellpose-original": _original,
    "cellpose-noresize": _no_resize,
    "two-scale": _two_scale,
    "boundary": _boundary,
}
