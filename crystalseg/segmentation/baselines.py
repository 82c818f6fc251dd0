"""The methods that SiMA is compared with; `pipeline.RUNS` calls each.

All methods with a flow network use the same CPNet weights, as in the paper (sections IV-B and V-B). They run in float32
like the cellpose package, because its 200 steps amplify small differences.
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

DIAMETER = 50.0  # px; the paper's d, to which `cellpose-original` scales the mean crystal
LARGEST_ENLARGEMENT = 2.0
# `two-scale` runs CPNet at full size for crystals up to the cut (px) and at a quarter of it for larger ones.
TWO_FACTORS, TWO_CUT = (0.25, 1.0), 100.0
BOUNDARY_THRESHOLD = 0.2  # on the probability of a line (paper section IV-B)


# --- one scale -------------------------------------------------------------------------------------------------------


def no_resize(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Run CPNet at full resolution only."""
    return _at_one_scale(pyramid, 1.0, settings, clock, progress)


def original(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Run Cellpose: scale the image once, so that its mean crystal has DIAMETER."""
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
    """Run CPNet on all tiles at these factors, in float32."""
    everywhere = [None] * len(factors)
    exact = settings.instances.checks_flow
    return predict_scales(pyramid, "cellpose", factors, everywhere, 0.0, clock, progress, exact=exact)


def _with_factors(settings: Settings, factors: tuple[float, ...]) -> Settings:
    return replace(settings, scales=replace(settings.scales, factors=factors, thresholds=()))


def estimate_diameter(pyramid: Pyramid, choice: Instances = Instances()) -> float:  # noqa: B008 - frozen
    """Return the mean crystal diameter, px, as Cellpose estimates it (Stringer et al. 2021, Methods).

    The SizeModel makes a first estimate from the style of the unscaled image. The diameters found at the resulting
    scale then give the final estimate.
    """
    networks = pyramid.models.networks
    if "size" not in networks:
        guess = DIAMETER  # no SizeModel fits a user's flow network, so only the second step remains
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
    """Return the factor that scales `diameter` to DIAMETER, within the limits that the image size sets."""
    return float(np.clip(DIAMETER / max(diameter, 1e-3), 48 / max(pyramid.shape), LARGEST_ENLARGEMENT))


# --- two scales, separated at one size -------------------------------------------------------------------------------


def two_scale(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Combine two runs as ImageGrains combines two Cellpose runs of different diameter (dmair1989/ImageGrains)."""
    scales = _predicted(pyramid, TWO_FACTORS, settings, clock, progress)
    labels, confidence = two_scale_labels(scales, pyramid.shape, settings.instances)
    fused = fuse(scales, None, pyramid.shape, "average")
    return Segmentation(labels, confidence, fused, scales, None, _with_factors(settings, TWO_FACTORS))


def two_scale_labels(
    scales: Sequence[ScalePrediction], shape: tuple[int, int], choice: Instances
) -> tuple[np.ndarray, np.ndarray]:
    """Take crystals above the cut from the coarse scale, and others from the fine scale unless a larger one is
    there."""
    coarse, fine = (instances(fuse([scale], None, shape, "average"), choice, True) for scale in scales)
    large, large_sure = _kept(*coarse, diameters(coarse[0]) > TWO_CUT)
    small, small_sure = _kept(*fine, diameters(fine[0]) <= TWO_CUT)
    small, small_sure = _kept(small, small_sure, means(small, large > 0) < 0.5)  # at least half hidden ones are dropped
    labels = np.where(large > 0, large, np.where(small > 0, small + len(large_sure), 0)).astype(np.int32)
    return labels, np.concatenate((large_sure, small_sure))


def _kept(labels: np.ndarray, sure: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return keep_labels(labels, keep), sure[keep]


# --- lines and thresholds --------------------------------------------------------------------------------------------


def without_flow(labels: np.ndarray, ground: np.ndarray, settings: Settings) -> Segmentation:
    """Return a segmentation without flow. `ground`, bool, is shown as foreground; every crystal has confidence 1."""
    fused = Prediction(np.zeros((2, *labels.shape), np.float32), np.where(ground, -NOTHING, NOTHING).astype(np.float32))
    return Segmentation(labels, np.ones(int(labels.max()), np.float32), fused, (), None, settings)


def boundary(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Take the regions between the lines of the boundary network; for SA2-Net, take the basins of a watershed."""
    line, ground = probabilities(pyramid, pyramid.models[settings.method], progress)
    clock.lap("scale 1")
    divide = basins_within if settings.method == "boundary-sa2" else regions_between
    labels = divide(line, ground > 0.5, BOUNDARY_THRESHOLD, settings.instances.min_area)
    return without_flow(labels, ground > 0.5, settings)


def probabilities(pyramid: Pyramid, network: nn.Module, progress: Report = lambda _: None) -> np.ndarray:
    """Run a network on the colour image tile by tile and return its maps as probabilities, float32 (K, H, W). Networks
    of ours give boundary lines and foreground."""
    height, width = pyramid.shape
    grid = Grid(height, width, multiple=32)  # the encoder halves the size five times
    done = 0

    def predict(stack: np.ndarray) -> np.ndarray:
        nonlocal done
        done += len(stack)
        progress(Progress("tiles", done, len(grid.corners), 0.9 * done / len(grid.corners)))
        return pyramid.run(lambda x: network(x).sigmoid(), stack)

    return blend(grid, pyramid.picture(), predict)[0]


def regions_between(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Return 4-connected regions of `ground` between lines 5 px wide, labels int32 (H, W) (paper section IV-B).

    `line` is a probability; where it exceeds `threshold`, it is thinned to a skeleton and widened again. `ground` is
    bool.
    """
    skeleton = skeletonize(line > threshold)
    lines = dilation(skeleton, disk(BOUNDARY_WIDTH // 2))
    return tidy(label(ground & ~lines, connectivity=1), min_area)


def basins_between(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Divide `ground`, bool, by a watershed of the line probability into labels, int32 (H, W): one crystal per region
    that no line crosses. The pixels of the lines go to the crystals beside them."""
    seeds = label(ground & (line <= threshold), connectivity=1)
    seeds = keep_labels(seeds, areas(seeds)[1:] >= min_area)
    return tidy(watershed(line, seeds, mask=ground), min_area)


def basins_within(line: np.ndarray, ground: np.ndarray, threshold: float, min_area: int) -> np.ndarray:
    """Like `basins_between`, for a ground that includes the lines around the crystals, as our networks draw it. The
    lines are removed from its edge."""
    within = ndimage.binary_erosion(ground, disk(GROUND_MARGIN), border_value=1)
    return basins_between(line, within, threshold, min_area)


def watershed_of_distance(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Threshold by Otsu, take the maxima of the distance transform as seeds, and run a watershed (scikit-image)."""
    gray = gaussian(pyramid.pixels.mean(axis=2), 1.0)
    ground = gray > threshold_otsu(gray) if gray.max() > gray.min() else np.zeros(gray.shape, bool)
    labels = split_by_distance(ground, settings.instances.min_area)
    return without_flow(labels, ground, settings)


def split_by_distance(ground: np.ndarray, min_area: int) -> np.ndarray:
    """Divide `ground`, bool, by a watershed of its distance transform, one crystal per maximum: labels int32 (H, W)."""
    ground = remove_small_holes(ground, max_size=min_area)
    distance = gaussian(ndimage.distance_transform_edt(ground), 1.0)
    peaks = peak_local_max(distance, min_distance=5, labels=label(ground), exclude_border=False)
    seeds = np.zeros(ground.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return tidy(watershed(-distance, seeds, mask=ground), min_area)
