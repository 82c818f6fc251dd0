"""The methods SiMA is compared with, each as `pipeline.RUNS` calls it.

All that run a flow network use the same CPNet weights, as in the paper (section IV-B and V-B), in float32 as the
cellpose package does: its 200 steps carry small differences far.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import label
from skimage.morphology import dilation, disk, remove_small_holes, skeletonize
from skimage.segmentation import watershed
from torch import nn

from crystalseg.measurement.diameter import diameters
from crystalseg.micrographs.labels import BOUNDARY_WIDTH, GROUND_MARGIN, areas, keep_labels, means, tidy
from crystalseg.networks.cellpose import CPNet
from crystalseg.segmentation.fusion import NOTHING, Prediction, ScalePrediction, fuse
from crystalseg.segmentation.instances import instances
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.pyramid import Pyramid, predict_scales
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.segmentation.tiling import Grid, blend

Report = Callable[[Progress], None]

DIAMETER = 50.0  # px, the paper's d: `cellpose-original` scales the mean crystal to it
LARGEST_ENLARGEMENT = 2.0
# `two-scale`: CPNet at full size for crystals up to the cut (px), at a quarter for larger ones.
TWO_FACTORS, TWO_CUT = (0.25, 1.0), 100.0
BOUNDARY_THRESHOLD = 0.2  # of the line's probability (paper section IV-B)


# --- one scale -------------------------------------------------------------------------------------------------------


def no_resize(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """CPNet at full resolution only."""
    return _at_one_scale(pyramid, 1.0, settings, clock, progress)


def original(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Cellpose: the image scaled once, so that its mean crystal has DIAMETER."""
    progress(Progress("size estimation", 0, 1, 0.0))
    factor = _factor(estimate_diameter(pyramid, Instances(flow_threshold=settings.instances.flow_threshold)), pyramid)
    clock.lap("size estimation")
    return _at_one_scale(pyramid, factor, settings, clock, progress)


def _at_one_scale(pyramid: Pyramid, factor: float, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    scales = _predicted(pyramid, [factor], settings, clock, progress)
    fused = fuse(scales, None, pyramid.shape, "average")
    clock.lap("fusion")
    labels, confidence = instances(fused, settings.instances, as_cellpose=True)
    return Segmentation(labels, confidence, fused, scales, None, _with_factors(settings, (factor,)))


def _predicted(
    pyramid: Pyramid, factors: Sequence[float], settings: Settings, clock: Clock, progress: Report
) -> tuple[ScalePrediction, ...]:
    """CPNet on all tiles at these factors, in float32."""
    everywhere = [None] * len(factors)
    exact = settings.instances.checks_flow
    return predict_scales(pyramid, "cellpose", factors, everywhere, 0.0, clock, progress, exact=exact)


def _with_factors(settings: Settings, factors: tuple[float, ...]) -> Settings:
    return replace(settings, scales=replace(settings.scales, factors=factors, thresholds=()))


def estimate_diameter(pyramid: Pyramid, choice: Instances = Instances()) -> float:  # noqa: B008 - frozen
    """Mean crystal diameter, px, as Cellpose estimates it (Stringer et al. 2021, Methods).

    The SizeModel on the style of the image as it is, then the diameters found at the scale that follows from it.
    """
    networks = pyramid.models.networks
    if "size" not in networks:
        guess = DIAMETER  # a user's flow network: only the second step is left
    else:
        network, size = cast(CPNet, networks["cellpose"]), networks["size"]
        grid = pyramid.grid(1.0)
        image = pyramid.resized("cellpose", 1.0)
        styles = [
            pyramid.run(lambda x: network.style(network.downsample(x)[-1]), grid.cut(image, corner)[None])
            for corner in grid.corners
        ]
        style = np.mean(np.concatenate(styles), axis=0, keepdims=True)
        style /= np.sqrt(np.square(style).sum())
        guess = float(np.exp(pyramid.run(size, style)[0]))
    scale = pyramid.flow("cellpose", _factor(guess, pyramid), exact=choice.checks_flow)
    fused = Prediction(scale.flow, scale.foreground)
    sizes = diameters(instances(fused, choice, as_cellpose=True)[0]) / scale.factor
    return float(np.mean(sizes)) if len(sizes) else guess


def _factor(diameter: float, pyramid: Pyramid) -> float:
    """The factor that scales `diameter` to DIAMETER, within what the image's size allows."""
    return float(np.clip(DIAMETER / max(diameter, 1e-3), 48 / max(pyramid.shape), LARGEST_ENLARGEMENT))


# --- two scales, divided at one size ---------------------------------------------------------------------------------


def two_scale(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """As ImageGrains combines two Cellpose runs of different diameter (dmair1989/ImageGrains)."""
    scales = _predicted(pyramid, TWO_FACTORS, settings, clock, progress)
    labels, confidence = two_scale_labels(scales, pyramid.shape, settings.instances)
    fused = fuse(scales, None, pyramid.shape, "average")
    return Segmentation(labels, confidence, fused, scales, None, _with_factors(settings, TWO_FACTORS))


def two_scale_labels(
    scales: Sequence[ScalePrediction], shape: tuple[int, int], choice: Instances
) -> tuple[np.ndarray, np.ndarray]:
    """Crystals above the cut from the coarse scale, the others from the fine one where no larger one lies."""
    coarse, fine = (instances(fuse([scale], None, shape, "average"), choice, True) for scale in scales)
    large, large_sure = _kept(*coarse, diameters(coarse[0]) > TWO_CUT)
    small, small_sure = _kept(*fine, diameters(fine[0]) <= TWO_CUT)
    small, small_sure = _kept(small, small_sure, means(small, large > 0) < 0.5)  # the others are mostly hidden
    labels = np.where(large > 0, large, np.where(small > 0, small + len(large_sure), 0)).astype(np.int32)
    return labels, np.concatenate((large_sure, small_sure))


def _kept(labels: np.ndarray, sure: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return keep_labels(labels, keep), sure[keep]


# --- lines and thresholds --------------------------------------------------------------------------------------------


def without_flow(labels: np.ndarray, ground: np.ndarray, settings: Settings) -> Segmentation:
    """`ground` bool is shown as foreground; every crystal counts as sure."""
    fused = Prediction(np.zeros((2, *labels.shape), np.float32), np.where(ground, -NOTHING, NOTHING).astype(np.float32))
    return Segmentation(labels, np.ones(int(labels.max()), np.float32), fused, (), None, settings)


def boundary(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Regions between the lines that the boundary network sees; with SA2-Net in its place, basins of a watershed."""
    line, ground = probabilities(pyramid, pyramid.models[settings.method], progress)
    clock.lap("scale 1")
    divide = basins_within if settings.method == "boundary-sa2" else regions_between
    labels = divide(line, ground > 0.5, BOUNDARY_THRESHOLD, settings.instances.min_area)
    return without_flow(labels, ground > 0.5, settings)


def probabilities(pyramid: Pyramid, network: nn.Module, progress: Report = lambda _: None) -> np.ndarray:
    """What a network draws on the image in colour, tile by tile, as probabilities float32 (K, H, W): boundary lines and
    foreground if it is ours."""
    height, width = pyramid.shape
    grid = Grid(height, width, multiple=32)  # the encoder halves five times
    done = 0

    def predict(stack: np.ndarray) -> np.ndarray:
        nonlocal done
        done += len(stack)
        progress(Progress("tiles", done, len(grid.corners), 0.9 * done / len(grid.corners)))
        return pyramid.run(lambda x: network(x).sigmoid(), stack)

    return blend(grid, pyramid.picture(), predict)[0]


def regions_between(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """4-connected regions of `ground` between lines 5 px wide, labels int32 (H, W) (paper section IV-B).

    `line`: probability, made a skeleton where it exceeds `threshold` and widened again; `ground` bool.
    """
    skeleton = skeletonize(line > threshold)
    lines = dilation(skeleton, disk(BOUNDARY_WIDTH // 2))
    return tidy(label(ground & ~lines, connectivity=1), min_area)


def basins_between(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """`ground` bool divided by a watershed of the lines' probability, labels int32 (H, W): one crystal a region that no
    line crosses, and the lines themselves to the crystals beside them."""
    seeds = label(ground & (line <= threshold), connectivity=1)
    seeds = keep_labels(seeds, areas(seeds)[1:] >= min_area)
    return tidy(watershed(line, seeds, mask=ground), min_area)


def basins_within(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """As `basins_between`, where the ground has the lines about the crystals too, as our networks draw it: what is
    theirs is taken off its edge."""
    within = ndimage.binary_erosion(ground, disk(GROUND_MARGIN), border_value=1)
    return basins_between(line, within, threshold, min_area)


def watershed_of_distance(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """What is brighter than Otsu's threshold, the distance transform's maxima as seeds, watershed (scikit-image)."""
    gray = gaussian(pyramid.pixels.mean(axis=2), 1.0)
    ground = gray > threshold_otsu(gray) if gray.max() > gray.min() else np.zeros(gray.shape, bool)
    labels = split_by_distance(ground, settings.instances.min_area)
    return without_flow(labels, ground, settings)


def split_by_distance(ground: np.ndarray, min_area: int) -> np.ndarray:
    """`ground` bool divided by a watershed of its distance transform, one crystal a maximum: labels int32 (H, W)."""
    ground = remove_small_holes(ground, max_size=min_area)
    distance = gaussian(ndimage.distance_transform_edt(ground), 1.0)
    peaks = peak_local_max(distance, min_distance=5, labels=label(ground), exclude_border=False)
    seeds = np.zeros(ground.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return tidy(watershed(-distance, seeds, mask=ground), min_area)
