"""Augmentation: a random similarity transform (paper section IV-B) and a change of the picture (`imaging`)."""

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.segmentation import find_boundaries

from crystalseg.segmentation.attention import levels_from_labels
from crystalseg.segmentation.tiling import normalise
from crystalseg.training.data import LabelledImage
from crystalseg.training.imaging import imaged

CLOSE = 2  # px from a labelled outline; no other outline is this close, even where lines are open
Point = Sequence[float] | np.ndarray


def _random_point(shape: tuple[int, int], reach: float, rng: np.random.Generator) -> list[float]:
    """Draw a point (y, x) about a third of `reach` or more from the image's border, where the image is large enough."""
    point = []
    for length in shape:
        margin = min(0.35 * reach, length / 2)
        point.append(rng.uniform(margin, length - margin))
    return point


def _window(shape: tuple[int, int], reach: float, point: Point) -> tuple[slice, slice, np.ndarray]:
    """Return the part of an image within `reach` px of a point (y, x), and that point (x, y) inside the part."""
    cuts = [slice(max(0, int(p - reach)), min(n, int(p + reach) + 2)) for p, n in zip(point, shape, strict=True)]
    return cuts[0], cuts[1], np.array([point[1] - cuts[1].start, point[0] - cuts[0].start])


def _isometry(rng: np.random.Generator) -> np.ndarray:
    """Draw a random rotation, mirrored half of the time, 2 × 2 on (x, y). Half are by right angles, without
    interpolation."""
    angle = rng.integers(4) * np.pi / 2 if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return turn @ np.diag([rng.choice([-1.0, 1.0]), 1.0])


def transform(
    s: LabelledImage,
    factor: float,
    size: int,
    rng: np.random.Generator,
    point: Point | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Scale by `factor`, turn, mirror and cut a `size` × `size` patch around `point` (y, x), or around a random place.

    Returns image float32 (3, size, size), labels int32 (size, size), flow float32 (2, size, size) or None, and valid
    bool (size, size). `valid` is False where the patch lies outside the image or where the labels may be wrong.
    """
    reach = 0.75 * size / factor
    middle = _random_point(s.labels.shape, reach, rng) if point is None else point
    rows, columns, inside = _window(s.labels.shape, reach, middle)
    target = (
        max(1, round((columns.stop - columns.start) * factor)),
        max(1, round((rows.stop - rows.start) * factor)),
    )
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = cv2.resize(s.image[rows, columns], target, interpolation=smooth)
    labels = cv2.resize(s.labels[rows, columns].astype(np.float32), target, interpolation=cv2.INTER_NEAREST)
    turn = _isometry(rng)
    shift = (size - 1) / 2 - turn @ (inside * factor)
    matrix = np.column_stack((turn, shift))

    def warp(array: np.ndarray, interpolation: int) -> np.ndarray:
        return cv2.warpAffine(array, matrix, (size, size), flags=interpolation)

    inner = warp(np.ones(target[::-1], np.uint8), cv2.INTER_NEAREST) > 0
    valid = inner
    if s.valid is not None:
        right = cv2.resize(s.valid[rows, columns].astype(np.uint8), target, interpolation=cv2.INTER_NEAREST)
        valid = warp(right, cv2.INTER_NEAREST) > 0
    labels = warp(labels, cv2.INTER_NEAREST).astype(np.int32)
    flow = None
    if s.flow is not None:
        fy, fx = (
            warp(cv2.resize(f[rows, columns], target, interpolation=cv2.INTER_LINEAR), cv2.INTER_LINEAR) for f in s.flow
        )
        flow = np.stack((turn[1, 0] * fx + turn[1, 1] * fy, turn[0, 0] * fx + turn[0, 1] * fy))
        flow = np.where(labels > 0, flow / (np.sqrt(np.square(flow).sum(axis=0)) + 1e-6), 0).astype(np.float32)
    picture = imaged(normalise(warp(image, cv2.INTER_LINEAR), s.low, s.high), rng) * inner
    return picture, labels, flow, valid


def flow_patch(
    s: LabelledImage,
    rng: np.random.Generator,
    size: int,
    diameter: float,
    scales: tuple[float, float],
    whole: float = 0.0,
    focus: float = 0.0,
    empty: float = 0.0,
    busy: float = 0.0,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Make a training item of a flow network: image (3, size, size) and target (5, size, size) = dy, dx, foreground,
    outline, valid. Returns None if it is unusable. The outline is 1 on an outline, 0 elsewhere, and -1 where the labels
    may be missing one.

    By default the image is scaled so that its mean crystal diameter is `diameter` × a log-uniform factor from `scales`.
    The other arguments are probabilities of other patches:

    whole: nearly the whole image fits the patch, as on the lowest rung of the ladder.
    focus: one crystal near the middle has 0.4 to 1.8 × `diameter`; each octave of sizes is equally likely.
    empty: the patch lies around a place without a crystal. `busy` is the share of these places where there is something
        else to see.

    An image without crystals gives only patches of the last kind.
    """
    point = None
    kind = rng.random()
    if s.diameter == 0:
        kind = focus + whole
    if kind < focus:
        y, x, own = s.crystals[_any_octave(s.crystals[:, 2], rng)]
        factor = diameter / own * np.exp(rng.uniform(*np.log((0.4, 1.8))))
    elif kind < focus + whole:
        factor = size / max(s.labels.shape) * rng.uniform(0.8, 1.1)
    elif (kind < focus + whole + empty or s.diameter == 0) and s.ground[::4, ::4].any():
        factor = np.exp(rng.uniform(*np.log((0.3, 1.0))))
        point = _place_on_ground(s, rng, busy)
    elif s.diameter == 0:
        return None
    else:
        factor = diameter / s.diameter * np.exp(rng.uniform(*np.log(scales)))
    # Beyond these limits an image is only blurred, or nothing of it is left.
    factor = float(np.clip(factor, 48 / max(s.labels.shape), 5.0))
    if kind < focus:
        point = np.array([y, x]) + rng.uniform(-0.25, 0.25, 2) * size / factor
    image, labels, flow, valid = transform(s, factor, size, rng, point)
    if flow is None or valid.mean() < (0.3 if s.valid is None else 0.05):
        return None
    outline = find_boundaries(labels, connectivity=2, mode="inner").astype(np.float32)
    if s.open_lines:
        outline[_within(labels, outline > 0)] = -1
    return image, np.concatenate((flow, [labels > 0, outline, valid])).astype(np.float32)


def _place_on_ground(s: LabelledImage, rng: np.random.Generator, busy: float) -> np.ndarray:
    """Draw a place (y, x) without a crystal: a random one, or with probability `busy` one drawn in proportion to the
    squared local contrast. The latter favours letters, bars, films and dirt over empty ground."""
    ground = np.argwhere(s.ground[::4, ::4])
    if busy and rng.random() < busy:
        gray = cv2.cvtColor(s.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        edges = cv2.GaussianBlur(np.abs(gray - cv2.GaussianBlur(gray, (0, 0), 2)), (0, 0), 3)[::4, ::4]
        # The edge of a crystal has contrast too.
        away = cv2.erode(s.ground.astype(np.uint8), np.ones((9, 9), np.uint8))[::4, ::4]
        chance = (edges**2 * away)[tuple(ground.T)].astype(np.float64)
        if chance.any():
            return 4.0 * ground[rng.choice(len(ground), p=chance / chance.sum())]
    return 4.0 * ground[rng.integers(len(ground))]


def _within(labels: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Return the pixels inside crystals that are more than CLOSE px from an outline: bool (H, W)."""
    reach = np.ones((2 * CLOSE + 1,) * 2, np.uint8)
    return (labels > 0) & (cv2.dilate(outline.astype(np.uint8), reach) == 0)


def _any_octave(diameters: np.ndarray, rng: np.random.Generator) -> int:
    """Draw a random index so that each octave of the diameters is equally likely."""
    octave = np.floor(np.log2(diameters))
    return int(rng.choice(np.flatnonzero(octave == rng.choice(np.unique(octave)))))


def attention_item(
    s: LabelledImage, rng: np.random.Generator, size: int, thresholds: Sequence[float], scales: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Make a SiMA item: the whole image, its longer side scaled to `size` × a factor from `scales`, and the level maps.

    Returns image float32 (3, size, size) and truth float32 (N + 1, size, size). The area around the image is
    background, as in inference, where zeros are padded.
    """
    longer = max(s.labels.shape)
    if longer > 448 and rng.random() < 0.3:
        s = _part(s, rng)
        longer = max(s.labels.shape)
    factor = size / longer * rng.uniform(*scales)
    image, labels, _, _ = transform(s, float(factor), size, rng)
    return image, levels_from_labels(labels, thresholds).astype(np.float32)


def _part(s: LabelledImage, rng: np.random.Generator) -> LabelledImage:
    """Cut a random window of half to all of each side, so that one image shows its crystals at several relative
    sizes."""
    cuts = []
    for length in s.labels.shape:
        n = int(length * rng.uniform(0.4, 1))
        start = int(rng.integers(length - n + 1))
        cuts.append(slice(start, start + n))
    cut = tuple(cuts)
    return LabelledImage(s.image[cut], s.labels[cut], None, s.low, s.high, s.crystals)
