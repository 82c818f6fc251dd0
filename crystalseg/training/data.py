"""The training images: folders of labelled images, and the synthetic generator."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.micrographs.annotations import inside
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.tiling import limits
from crystalseg.synthetic.appearance import Look
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.inscriptions import draw_ground, inscribe
from crystalseg.synthetic.sets import random_flat, random_grain, sides_about
from crystalseg.synthetic.structure import Structure
from crystalseg.training.sources import Folder, read_source, shares, source_of

FLAT_SHARE = 0.15  # share of the synthetic images that are flat, apart from those drawn as grains
INSCRIBED_SHARE = 0.25  # share of the synthetic images with letters, bars and insets
BARE_SHARE = 0.04  # share of the synthetic images without crystals
MOST_PIXELS = 1_500_000  # px of a synthetic image that is seen whole
Item = tuple[np.ndarray, np.ndarray]  # the item that a network learns from: image and target, (C, H, W) each


@dataclass(frozen=True)
class LabelledImage:
    """A labelled image to train on.

    image: uint8 (H, W, 3) RGB. labels: int32 (H, W). flow: float32 (2, H, W) or None.
    low, high: the image's 1st and 99th percentile per channel.
    crystals: float32 (n, 3), centroid y, x and equivalent circular diameter, px.
    valid: bool (H, W), where the labels are right, or None if everywhere; only crystals there count.
    open_lines: whether crystals may touch where the labels have no boundary (`sources.Source`).
    """

    image: np.ndarray
    labels: np.ndarray
    flow: np.ndarray | None
    low: np.ndarray
    high: np.ndarray
    crystals: np.ndarray
    valid: np.ndarray | None = None
    open_lines: bool = False

    @property
    def diameter(self) -> float:
        """The mean diameter, px; 0 if there is no crystal."""
        return float(self.crystals[:, 2].mean()) if len(self.crystals) else 0.0

    @property
    def ground(self) -> np.ndarray:
        """Return where there certainly is no crystal: bool (H, W)."""
        return self.labels == 0 if self.valid is None else (self.labels == 0) & self.valid


def labelled_image(
    image: np.ndarray, labels: np.ndarray, with_flow: bool, valid: np.ndarray | None = None, open_lines: bool = False
) -> LabelledImage:
    """Make a LabelledImage from an image uint8 (H, W, 3) and its labels int32 (H, W), which are right where `valid`.
    `with_flow`: whether a network learns the flow, so that it is computed."""
    flow = flows_from_labels(labels) if with_flow else None
    crystals = _crystals(labels if valid is None else inside(labels, valid))
    return LabelledImage(image, labels, flow, *limits(image), crystals, valid, open_lines)


def _crystals(labels: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(labels)
    names = labels[y, x]
    area = np.bincount(names)
    there = area > 0
    sums = [np.bincount(names, weights=v)[there] for v in (y, x)]
    area = area[there]
    return np.column_stack((*(s / area for s in sums), equivalent_diameter(area))).astype(np.float32)


def drawn_image(
    rng: np.random.Generator, shape: tuple[int, int], structure: Structure | None = None, look: Look | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a synthetic image uint8 (H, W, 3) of `shape` and its labels int32 (H, W). The share INSCRIBED_SHARE has
    letters, bars and insets on it; the share BARE_SHARE shows no crystal. The seed is even; validation and test sets
    have odd seeds."""
    number = 2 * int(rng.integers(2**60))
    if rng.random() < BARE_SHARE:
        pixels, labels = draw_ground(rng, shape), np.zeros(shape, np.int32)
    else:
        drawn = draw(number, shape, structure, look)
        pixels, labels = drawn.image, drawn.labels
    return inscribe(pixels, labels, rng) if rng.random() < INSCRIBED_SHARE else (pixels, labels)


class Synthetic:
    """A pool of synthetic images that is renewed slowly. A new image for every patch would cost too much time."""

    def __init__(
        self, seed: int, with_flow: bool, sides: tuple[int, int] = (224, 900), pool: int = 400, reuse: int = 6
    ):
        """`sides`: shortest and longest image side, px. `reuse`: how often an image is used on average."""
        self.seed, self.with_flow, self.sides, self.size, self.reuse = seed, with_flow, sides, pool, reuse
        self.pool: list[LabelledImage] = []

    def __call__(self, rng: np.random.Generator) -> LabelledImage:
        if len(self.pool) < 8 or rng.random() < 1 / self.reuse:
            low, high = np.log(self.sides)
            side = np.exp(rng.uniform(low, high))
            height, width = (int(np.clip(s, *self.sides)) for s in sides_about(side, rng, 0.3))
            flat = random_flat(rng, (height, width)) if rng.random() < FLAT_SHARE else ()
            pixels, labels = drawn_image(rng, (height, width), *flat)
            new = labelled_image(pixels, labels, self.with_flow)
            if len(self.pool) < self.size:
                self.pool.append(new)
            else:
                self.pool[rng.integers(self.size)] = new
            return new
        return self.pool[rng.integers(len(self.pool))]


def labelled_images(folders: Sequence[Folder], with_flow: bool) -> list[list[LabelledImage]]:
    """Read all images of each folder."""
    return [
        [
            labelled_image(m.pixels, labels, with_flow, right, source_of(folder).labels == "open")
            for m, labels, right in read_source(folder)
        ]
        for folder in folders
    ]


class Mixture:
    """Draws from the synthetic pool with probability `synthetic`, else from one of the folders. `sources.shares` says
    how often each folder is drawn; each image of a folder is equally likely."""

    def __init__(self, folders: Sequence[Folder], synthetic: float, seed: int, with_flow: bool):
        self.sets = labelled_images(folders, with_flow)
        self.shares = shares(folders)
        self.synthetic = synthetic if self.sets else 1.0
        self.generator = Synthetic(seed, with_flow)

    def __call__(self, rng: np.random.Generator) -> LabelledImage:
        if rng.random() < self.synthetic:
            return self.generator(rng)
        chosen = self.sets[rng.choice(len(self.sets), p=self.shares)]
        return chosen[rng.integers(len(chosen))]


def endless_images(
    folders: Sequence[Folder], synthetic: float, sides: tuple[int, int], crop: tuple[int, int], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield images without end: synthetic ones, a share `synthetic`, half of them grains; and crops of the folders'
    images, each folder as often as `sources.shares` says. An item is pixels uint8 (H, W, 3), labels int32 (H, W), and
    where the labels are right, bool (H, W), or None if everywhere. `sides`: range of the sides of synthetic images, px.
    `crop`: range of the longest side cut from real images, px. Seeds are even, as in all training."""
    rng = np.random.default_rng(seed)
    sets = [read_source(folder) for folder in folders]
    often = shares(folders)
    while True:
        if not sets or rng.random() < synthetic:
            if rng.random() < 0.5:
                shape, structure, look = random_grain(rng, int(rng.integers(1, 4)))
            else:
                shape, structure, look = sides_about(np.exp(rng.uniform(*np.log(sides))), rng, 0.2), None, None
                if rng.random() < FLAT_SHARE:
                    structure, look = random_flat(rng, shape)
            if shape[0] * shape[1] < MOST_PIXELS:
                yield *drawn_image(rng, shape, structure, look), None
            continue
        chosen = sets[rng.choice(len(sets), p=often)]
        micrograph, labels, right = chosen[rng.integers(len(chosen))]
        longest = int(rng.integers(crop[0], crop[1] + 1))
        cut = []
        for length in labels.shape:
            start = int(rng.integers(max(length - longest, 0) + 1))
            cut.append(slice(start, start + longest))
        part = tuple(cut)
        yield np.ascontiguousarray(micrograph.pixels[part]), labels[part], None if right is None else right[part]


class Stream(IterableDataset):
    """Augmented items without end. The source is made in the worker process, so that memory holds it only once."""

    def __init__(self, source: Callable[[], Callable], augment: Callable, seed: int):
        self.source, self.augment, self.seed = source, augment, seed

    def __iter__(self) -> Iterator:
        worker = get_worker_info()
        cv2.setNumThreads(1)
        rng = np.random.default_rng((self.seed, worker.id if worker else 0))
        source = self.source()
        while True:
            item = self.augment(source(rng), rng)
            if item is not None:
                yield item


class NumberedStream(Stream):
    """A Stream that begins with batch number `start`, of `batch` items. It gives the same items as one that began at 0,
    however many workers prepare them."""

    def __init__(self, source: Callable[[], Callable], augment: Callable, seed: int, start: int, batch: int):
        super().__init__(source, augment, seed)
        self.start, self.batch = start, batch

    def __iter__(self) -> Iterator:
        cv2.setNumThreads(1)
        worker = get_worker_info()
        first, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        source = self.source()
        for number in itertools.count(self.start + first, workers):
            for place in range(self.batch):
                rng = np.random.default_rng((self.seed, number, place))
                item = None
                while item is None:
                    item = self.augment(source(rng), rng)
                yield item


def fixed_batches(
    folders: Sequence[Folder],
    generator: Synthetic,
    turn: Callable[[int, int], int | None],
    augment: Callable[[LabelledImage, np.random.Generator], Item | None],
    count: int,
) -> list[tuple[Tensor, Tensor]]:
    """Return `count` items for validation, always the same: from the folders, and from synthetic images that training
    never sees.

    `turn(k, n)`: which of the n folders item k is taken from, or None for the generator.
    """
    rng = np.random.default_rng(1)
    sets = labelled_images(folders, generator.with_flow)
    items: list[Item] = []
    while len(items) < count:
        which = turn(len(items), len(sets))
        image = generator(rng) if which is None else sets[which][rng.integers(len(sets[which]))]
        item = augment(image, rng)
        if item is not None:
            items.append(item)
    return stacked(items)


def every_second(k: int, folders: int) -> int | None:
    """A turn of `fixed_batches`: every second item comes from a folder."""
    return k % folders if folders and k % 2 else None


def stacked(items: list[Item], size: int = 16) -> list[tuple[Tensor, Tensor]]:
    """Stack items into batches of up to `size`."""
    parts = [items[k : k + size] for k in range(0, len(items), size)]
    return [
        (torch.from_numpy(np.stack([image for image, _ in part])), torch.from_numpy(np.stack([t for _, t in part])))
        for part in parts
    ]
