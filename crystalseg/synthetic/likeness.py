"""Draw synthetic images like a material: its own crystals and ground, taken from areas with labels, in a new
arrangement.

Crystals on a ground are cut out and pasted elsewhere, turned, mirrored and scaled a little (Ghiasi et al. 2021, Simple
Copy-Paste). Where crystals fill the area, a polycrystal of the measured sizes is drawn and filled with their texture.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy import ndimage
from skimage.measure import regionprops

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.micrographs.annotations import inside
from crystalseg.micrographs.labels import bounding_box, tidy
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

LEAST_CRYSTALS = 8  # with fewer, an image would show the same crystals again and again
DENSE = 0.8  # coverage above which there is no ground to paste on
TRIES, MOST_HIDDEN = 12, 0.25  # places tried for a crystal, and the largest share of it that may hide others
CONTACT = 2  # px between crystals that touch
EDGE = 3  # px around a crystal that do not count as ground, because edges shine
SCALED = 0.15  # standard deviation of the logarithm of a crystal's scale
SMALLEST = 15  # px², the least visible part of a hidden crystal that is labelled
SIMILAR = 5  # one of this many crystals of the nearest size lends its texture
CONTEXT = 2  # px around a crystal that are cut out with it


@dataclass(frozen=True)
class Piece:
    """A crystal that was cut out. pixels: uint8 (h, w, 3). mask: bool (h, w)."""

    pixels: np.ndarray
    mask: np.ndarray

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True)
class Likeness:
    """What is known about a material. pieces: its whole crystals. grounds: uint8 (h, w, 3) each, without crystals.
    coverage: share of the area that crystals take. touching: share of crystals that touch another. structure: its
    description as a polycrystal."""

    pieces: tuple[Piece, ...]
    grounds: tuple[np.ndarray, ...]
    coverage: float
    touching: float
    structure: Structure

    def draw(self, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Draw an image uint8 (H, W, 3) and its labels int32 (H, W)."""
        image = _spread(rng, self.grounds[rng.integers(len(self.grounds))], shape)
        drawn = self._filled if self.coverage > DENSE else self._pasted
        labels = drawn(rng, image)
        return image, labels

    def _pasted(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        labels = np.zeros(image.shape[:2], np.int32)
        wanted, taken = self.coverage * labels.size * rng.uniform(0.5, 1.5), 0
        placed: list[tuple[float, float, float]] = []
        for number in range(1, 4 * round(wanted / np.mean([p.area for p in self.pieces])) + 1):
            piece = _turned(rng, self.pieces[rng.integers(len(self.pieces))])
            beside = placed[rng.integers(len(placed))] if placed and rng.random() < self.touching else None
            at = _paste(rng, image, labels, piece, number, beside)
            if at is not None:
                placed.append(at)
                taken += piece.area
            if taken >= wanted:
                break
        return tidy(labels, SMALLEST)

    def _filled(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        labels = draw(int(rng.integers(2**60)), image.shape[:2], self.structure).labels
        sizes = np.log([piece.area for piece in self.pieces])
        for region in regionprops(labels):
            alike = np.argsort(np.abs(sizes - np.log(region.area)))[:SIMILAR]
            piece = _turned(rng, self.pieces[rng.choice(alike)], scaled=0.0)
            texture = _reflected(piece.pixels, piece.mask)
            rows, columns = region.slice
            here = cv2.resize(texture, region.image.shape[::-1], interpolation=cv2.INTER_LINEAR)
            image[rows, columns][region.image] = here[region.image]
        return labels


def likeness_of(images: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Likeness | None:
    """Find the likeness of a material from images: pixels uint8 (H, W, 3), labels int32 (H, W), and bool (H, W) where
    the labels are right. Returns None if there are too few whole crystals."""
    pieces: list[Piece] = []
    grounds, touching = [], []
    crystal, known, outlines = 0, 0, 0.0
    for pixels, labels, valid in images:
        crystal += int(np.count_nonzero(labels[valid]))
        known += int(np.count_nonzero(valid))
        whole = inside(labels, valid)
        for region in regionprops(whole):
            piece = _cut(pixels, region)
            outlines += region.perimeter
            if piece is not None:
                pieces.append(piece)
        touching += _touching(whole).tolist()
        ground = valid & (labels == 0)
        apart = ground & (cv2.distanceTransform((labels == 0).astype(np.uint8), cv2.DIST_L2, 5) > EDGE)
        ground = apart if apart.any() else ground
        if ground.any():
            grounds.append(_reflected(pixels, ground)[bounding_box(valid)].copy())
    if len(pieces) < LEAST_CRYSTALS or not grounds:
        return None
    sizes = equivalent_diameter(np.array([piece.area for piece in pieces]))
    gap = 2 * (known - crystal) / outlines  # a boundary has a crystal on each side
    structure = Structure(
        "polycrystal", float(np.median(sizes)), float(np.clip(np.log(sizes).std(), 0.1, 0.9)), 0.7, float(max(gap, 1.5))
    )
    return Likeness(tuple(pieces), tuple(grounds), crystal / known, float(np.mean(touching)), structure)


def _touching(labels: np.ndarray) -> np.ndarray:
    """Whether each label has another one within CONTACT: bool (n,)."""
    window = np.ones((2 * CONTACT + 1, 2 * CONTACT + 1))
    above = ndimage.grey_dilation(labels, footprint=window)
    below = ndimage.grey_erosion(np.where(labels > 0, labels, labels.max() + 1), footprint=window)
    other = (labels > 0) & ((above != labels) | (below != labels))
    return np.bincount(labels[other], minlength=labels.max() + 1)[1:] > 0


def _cut(pixels: np.ndarray, region: Any) -> Piece | None:
    """Cut out a crystal, as `regionprops` gives it, with a small margin. Returns None if the image border may
    cut it."""
    top, left, bottom, right = region.bbox
    rows, columns = slice(top - CONTEXT, bottom + CONTEXT), slice(left - CONTEXT, right + CONTEXT)
    if min(rows.start, columns.start) < 0 or rows.stop > pixels.shape[0] or columns.stop > pixels.shape[1]:
        return None
    return Piece(pixels[rows, columns].copy(), np.pad(region.image, CONTEXT))


def _reflected(pixels: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the pixels where they are known, and elsewhere their mirror image about the nearest known pixel."""
    _, nearest = ndimage.distance_transform_edt(~known, return_indices=True)
    mirrored = 2 * nearest - np.indices(known.shape)
    for axis, length in enumerate(known.shape):
        mirrored[axis] = np.clip(mirrored[axis], 0, length - 1)
    usable = known[tuple(mirrored)]
    return pixels[tuple(np.where(usable, mirrored, nearest))]


def _spread(rng: np.random.Generator, ground: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mirror and repeat a part of a ground until it fills `shape`."""
    ground = np.rot90(ground, int(rng.integers(4)))
    edges = []
    for have, want in zip(ground.shape[:2], shape, strict=True):
        first = int(rng.integers(have))
        at = np.arange(first, first + want) % (2 * have)  # forward and back
        edges.append(np.where(at < have, at, 2 * have - 1 - at))
    return np.ascontiguousarray(ground[np.ix_(*edges)])


def _turned(rng: np.random.Generator, piece: Piece, scaled: float = SCALED) -> Piece:
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    step = -1 if flip else 1
    pixels, mask = np.rot90(piece.pixels, turns)[:, ::step], np.rot90(piece.mask, turns)[:, ::step]
    zoom = float(np.exp(rng.normal(0, scaled))) if scaled else 1.0
    size = [max(3, round(length * zoom)) for length in mask.shape[::-1]]
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=how)
    soft = cv2.resize(np.ascontiguousarray(mask, np.float32), size, interpolation=cv2.INTER_LINEAR)
    return Piece(pixels, soft >= 0.5)


def _paste(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    piece: Piece,
    number: int,
    beside: tuple[float, float, float] | None,
) -> tuple[float, float, float] | None:
    """Paste a crystal where it hides the least of others, or `beside` one (its centre y, x and its radius, px). Changes
    image and labels. Returns the centre and radius of the pasted crystal, or None if there is no place."""
    sides = np.array(piece.mask.shape)
    free = np.array(labels.shape) - sides
    if (free <= 0).any() or not piece.area:
        return None
    radius = float(equivalent_diameter(piece.area)) / 2
    best = MOST_HIDDEN * piece.area
    place, middle = None, np.zeros(2)
    for _ in range(TRIES):
        at = rng.uniform(0, free)
        if beside is not None:
            towards = rng.uniform(0, 2 * np.pi)
            apart = (beside[2] + radius) * rng.uniform(0.8, 1.05)
            at = np.array(beside[:2]) + apart * np.array((np.sin(towards), np.cos(towards))) - sides / 2
        first = at.astype(int)
        if (first < 0).any() or (first >= free).any():
            continue
        box = tuple(slice(low, low + side) for low, side in zip(first, sides, strict=True))
        hidden = float(np.count_nonzero(labels[box][piece.mask]))
        if hidden < best:
            best, place, middle = hidden, box, first + sides / 2
    if place is None:
        return None
    labels[place][piece.mask] = number
    soft = cv2.GaussianBlur(cv2.dilate(piece.mask.astype(np.float32), np.ones((3, 3))), (0, 0), 0.8)[..., None]
    image[place] = (soft * piece.pixels + (1 - soft) * image[place] + 0.5).astype(np.uint8)
    return float(middle[0]), float(middle[1]), radius
