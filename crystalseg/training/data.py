"""Where training images come from: folders of labelled images, and the synthetic generator."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from crystalseg.measurement.diameter import equivalent_diameter
from crystalseg.micrographs.annotations import inside
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.tiling import limits
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.sets import random_flat, random_grain, sides_about

FLAT_SHARE = 0.15  # of the synthetic images, but of those drawn as grains
MOST_PIXELS = 1_500_000  # of a synthetic image that is seen whole
Item = tuple[np.ndarray, np.ndarray]  # what a network learns from: image and target, (C, H, W) each


@dataclass(frozen=True)
class LabelledImage:
    """image uint8 (H, W, 3) RGB; labels int32 (H, W); flow float32 (2, H, W) or None; low, high: the image's 1st and
    99th percentile per channel; crystals float32 (n, 3): centroid y, x and equivalent circular diameter, px. valid bool
    (H, W), where the labels are right, or None if everywhere; only crystals there count."""

    image: np.ndarray
    labels: np.ndarray
    flow: np.ndarray | None
    low: np.ndarray
    high: np.ndarray
    crystals: np.ndarray
    valid: np.ndarray | None = None

    @property
    def diameter(self) -> float:
        """Mean diameter, px; 0 if there is no crystal."""
        return float(self.crystals[:, 2].mean()) if len(self.crystals) else 0.0

    @property
    def ground(self) -> np.ndarray:
        """Where there surely is no crystal, bool (H, W)."""
        return self.labels == 0 if self.valid is None else (self.labels == 0) & self.valid


def labelled_image(
    image: np.ndarray, labels: np.ndarray, with_flow: bool, valid: np.ndarray | None = None
) -> LabelledImage:
    """An image uint8 (H, W, 3) with its labels int32 (H, W), right where `valid`, and with their flow if that is
    learnt."""
    flow = flows_from_labels(labels) if with_flow else None
    crystals = _crystals(labels if valid is None else inside(labels, valid))
    return LabelledImage(image, labels, flow, *limits(image), crystals, valid)


def _crystals(labels: np.ndarray) -> np.ndarray:
    y, x = np.nonzero(labels)
    names = labels[y, x]
    area = np.bincount(names)
    there = area > 0
    sums = [np.bincount(names, weights=v)[there] for v in (y, x)]
    area = area[there]
    return np.column_stack((*(s / area for s in sums), equivalent_diameter(area))).astype(np.float32)


class Synthetic:
    """A slowly renewed pool of synthetic images: drawing each patch from a new image would cost too much."""

    def __init__(
        self, seed: int, with_flow: bool, sides: tuple[int, int] = (224, 900), pool: int = 400, reuse: int = 6
    ):
        """`sides`: shortest and longest image side, px; `reuse`: how often, on average, an image is used."""
        self.seed, self.with_flow, self.sides, self.size, self.reuse = seed, with_flow, sides, pool, reuse
        self.pool: list[LabelledImage] = []

    def __call__(self, rng: np.random.Generator) -> LabelledImage:
        if len(self.pool) < 8 or rng.random() < 1 / self.reuse:
            low, high = np.log(self.sides)
            side = np.exp(rng.uniform(low, high))
            height, width = (int(np.clip(s, *self.sides)) for s in sides_about(side, rng, 0.3))
            flat = random_flat(rng, (height, width)) if rng.random() < FLAT_SHARE else ()
            # Even seeds are for training; validation and test sets take odd ones.
            drawn = draw(2 * int(rng.integers(2**60)), (height, width), *flat)
            new = labelled_image(drawn.image, drawn.labels, self.with_flow)
            if len(self.pool) < self.size:
                self.pool.append(new)
            else:
                self.pool[rng.integers(self.size)] = new
            return new
        return self.pool[rng.integers(len(self.pool))]


def labelled_images(folders: Sequence[Path], with_flow: bool) -> list[list[LabelledImage]]:
    """All images of each folder."""
    return [[labelled_image(m.pixels, labels, with_flow) for m, labels in read_pairs(folder)] for folder in folders]


class Mixture:
    """Draws from the synthetic pool with probability `synthetic`, else from one of the folders, each as often."""

    def __init__(self, folders: Sequence[Path], synthetic: float, seed: int, with_flow: bool):
        self.sets = labelled_images(folders, with_flow)
        self.synthetic = synthetic if self.sets else 1.0
        self.generator = Synthetic(seed, with_flow)

    def __call__(self, rng: np.random.Generator) -> LabelledImage:
        if rng.random() < self.synthetic:
            return self.generator(rng)
        chosen = self.sets[rng.integers(len(self.sets))]
        return chosen[rng.integers(len(chosen))]


def endless_images(
    folders: Sequence[Path], synthetic: float, sides: tuple[int, int], crop: tuple[int, int], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless synthetic images, a share `synthetic`, half of them grains, and crops of the folders' images: pixels
    uint8 (H, W, 3) and labels int32 (H, W). sides: range of the synthetic ones' sides, px; crop: range of the longest
    side cut from real ones. Seeds are even, as in all training."""
    rng = np.random.default_rng(seed)
    sets = [[(m.pixels, labels) for m, labels in read_pairs(folder)] for folder in folders]
    while True:
        if not sets or rng.random() < synthetic:
            number = 2 * int(rng.integers(2**60))
            if rng.random() < 0.5:
                shape, structure, look = random_grain(rng, int(rng.integers(1, 4)))
            else:
                shape, structure, look = sides_about(np.exp(rng.uniform(*np.log(sides))), rng, 0.2), None, None
                if rng.random() < FLAT_SHARE:
                    structure, look = random_flat(rng, shape)
            if shape[0] * shape[1] < MOST_PIXELS:
                drawn = draw(number, shape, structure, look)
                yield drawn.image, drawn.labels
            continue
        chosen = sets[rng.integers(len(sets))]
        pixels, labels = chosen[rng.integers(len(chosen))]
        longest = int(rng.integers(crop[0], crop[1] + 1))
        cut = []
        for length in labels.shape:
            start = int(rng.integers(max(length - longest, 0) + 1))
            cut.append(slice(start, start + longest))
        yield np.ascontiguousarray(pixels[tuple(cut)]), labels[tuple(cut)]


class Stream(IterableDataset):
    """Endless augmented items; the source is made in the worker process, so that it is held only once."""

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
    """A Stream that begins with batch number `start`, of `batch` items, and gives the same as if it had begun at 0,
    however many workers prepare it."""

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
    folders: Sequence[Path],
    generator: Synthetic,
    turn: Callable[[int, int], int | None],
    augment: Callable[[LabelledImage, np.random.Generator], Item | None],
    count: int,
) -> list[tuple[Tensor, Tensor]]:
    """`count` items for validation, always the same: of the folders, and of synthetic images that training never sees.

    `turn(k, n)`: which of the n folders item k is taken from, None for the generator.
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
    """A turn of `fixed_batches`: every second item of a folder."""
    return k % folders if folders and k % 2 else None


def stacked(items: list[Item], size: int = 16) -> list[tuple[Tensor, Tensor]]:
    """Items as batches of up to `size`."""
    parts = [items[k : k + size] for k in range(0, len(items), size)]
    return [
        (torch.from_numpy(np.stack([image for image, _ in part])), torch.from_numpy(np.stack([t for _, t in part])))
        for part in parts
    ]
