"""Train ClickNet on simulated clicks, including those that a user would add where the answer is wrong (after MST, arXiv
2401.04403; clicks as in Sofiiuk et al. 2022)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, find_objects
from torch import Tensor
from torch.nn import functional

from crystalseg.networks import DIRECTORY
from crystalseg.networks.clicks import BEFORE, CHANNELS, INSIDE, OUTSIDE, PATCH, SIDE, ClickNet
from crystalseg.segmentation.corrections.clicks import Seen, dot, sampled
from crystalseg.segmentation.models import Models, load_models
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.training.data import Item, Stream, endless_images, stacked
from crystalseg.training.loop import Schedule, TrainingArguments, changed, fit_and_keep
from crystalseg.training.sources import Folder

LEVELS = 3  # resolutions of an item
FILLS = 0.45  # share of a window's side that a crystal fills at the resolution that suits it
WHOLE = 0.97  # share of a crystal that a window must show before it is asked for a mask
SMALLEST = 5  # px, the least width of a crystal that is clicked


@dataclass(frozen=True)
class Recipe:
    """How ClickNet is trained.

    synthetic: share of synthetic images. sides, crop: as for `data.endless_images`.
    pool: number of images held. reuse: number of clicks before an image is replaced.
    blind: share of items that do not see the output of the flow network, so that pictures alone are enough.
    more: share of steps in which a wrong answer gets further clicks, up to `most`.
    margin: of the triplet loss, in cosine.
    network: the flow network, by the name of its weights. helped: as for ClickNet.
    """

    synthetic: float = 0.5
    sides: tuple[int, int] = (200, 900)
    crop: tuple[int, int] = (300, 700)
    pool: int = 120
    reuse: int = 40
    blind: float = 0.25
    more: float = 0.5
    most: int = 5
    margin: float = 0.5
    network: str = "folded"
    helped: bool = True


@dataclass(frozen=True)
class Clickable:
    """An image as ClickNet sees it: labels int32 (H, W), the crystals that may be clicked by octave of their size, and
    the bounding boxes of all crystals."""

    seen: Seen
    labels: np.ndarray
    octaves: list[list[int]]
    boxes: list[tuple[slice, slice] | None]

    @staticmethod
    def of(pixels: np.ndarray, labels: np.ndarray, models: Models, network: str) -> "Clickable":
        pyramid = Pyramid(models, pixels)
        scales = [pyramid.flow(network, factor) for factor in Scales().octaves(pyramid.shape)]
        boxes = find_objects(labels)
        octaves: dict[int, list[int]] = {}
        for number, box in enumerate(boxes, start=1):
            if box is not None and min(s.stop - s.start for s in box) >= SMALLEST:
                octaves.setdefault(int(np.log2(_length(box))), []).append(number)
        return Clickable(Seen.of(pixels, scales), labels, list(octaves.values()), boxes)


class Pool:
    """Draws images from a pool that is renewed slowly."""

    def __init__(self, folders: Sequence[Folder], recipe: Recipe, seed: int):
        torch.set_num_threads(1)
        self.recipe = recipe
        self.models = load_models(DIRECTORY, "cpu")
        self.images = endless_images(folders, recipe.synthetic, recipe.sides, recipe.crop, seed)
        self.pool: list[Clickable] = []

    def __call__(self, rng: np.random.Generator) -> Clickable:
        while len(self.pool) < 4 or rng.random() < 1 / self.recipe.reuse:
            new = Clickable.of(*next(self.images)[:2], self.models, self.recipe.network)
            if not new.octaves:
                continue
            if len(self.pool) < self.recipe.pool:
                self.pool.append(new)
            else:
                self.pool[rng.integers(len(self.pool))] = new
        return self.pool[rng.integers(len(self.pool))]


def _length(box: tuple[slice, slice]) -> int:
    return max(side.stop - side.start for side in box)


def item_of(image: Clickable, rng: np.random.Generator, recipe: Recipe) -> Item:
    """Draw one click in one crystal: windows (LEVELS × CHANNELS, SIDE, SIDE) and target (LEVELS, 2, SIDE, SIDE). The
    target holds the mask of the crystal and, in every pixel, the share of the crystal that the window shows."""
    octave = image.octaves[rng.integers(len(image.octaves))]
    number = octave[rng.integers(len(octave))]
    box = image.boxes[number - 1]
    assert box is not None
    mask = image.labels[box] == number
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    # The click lies anywhere in the crystal, more often near its middle; one in three lies where the crystal is
    # deepest.
    chance = (depth == depth.max()) if rng.random() < 0.33 else depth
    place = rng.choice(depth.size, p=(chance / chance.sum()).ravel())
    y, x = (int(p) + edge.start for p, edge in zip(np.unravel_index(place, depth.shape), box, strict=True))
    nothing = np.zeros((1, 1), bool)
    windows = image.seen.windows((y, x), [(y, x)], [], nothing)
    factors = image.seen.factors
    suits = int(np.argmin(np.abs(np.log2(np.array(factors) * _length(box) / (FILLS * SIDE)))))
    first = int(np.clip(suits - rng.integers(LEVELS), 0, max(0, len(factors) - LEVELS)))
    chosen = range(first, min(first + LEVELS, len(factors)))
    shown = np.zeros((LEVELS, *windows.shape[1:]), np.float32)
    target = np.zeros((LEVELS, 2, SIDE, SIDE), np.float32)
    places = np.argwhere(mask) + [edge.start + 0.5 for edge in box]
    for k, level in enumerate(chosen):
        shown[k] = windows[level]
        corner = image.seen.corner((y, x), factors[level])
        target[k, 0] = sampled(image.labels, corner, factors[level]) == number
        within = places * factors[level] - corner
        target[k, 1] = ((within >= 0) & (within < SIDE)).all(axis=1).mean()
    return _changed(shown, target, rng, recipe)


def _changed(shown: np.ndarray, target: np.ndarray, rng: np.random.Generator, recipe: Recipe) -> Item:
    """Turn, mirror and change brightness and contrast. Now and then hide the output of the flow network."""
    turns = int(rng.integers(4))
    dy, dx = shown[:, 3].copy(), shown[:, 4].copy()
    for _ in range(turns):  # a quarter turn takes x to -y
        dy, dx = -dx, dy
    shown[:, 3], shown[:, 4] = dy, dx
    shown, target = (np.rot90(a, turns, (2, 3)).copy() for a in (shown, target))
    if rng.random() < 0.5:
        shown, target = shown[..., ::-1].copy(), target[..., ::-1].copy()
        shown[:, 4] *= -1
    shown[:, :3] = shown[:, :3] * np.exp(rng.normal(0, 0.2)) + rng.normal(0, 0.1)
    if rng.random() < 0.15:
        shown[:, :3] = 1 - shown[:, :3]
    if rng.random() < 0.3:
        shown[:, :3] += rng.normal(0, rng.uniform(0, 0.1), shown[:, :3].shape).astype(np.float32)
    if rng.random() < recipe.blind:
        shown[:, 3:INSIDE] = 0
    return shown.reshape(-1, SIDE, SIDE), target


# --- the loss --------------------------------------------------------------------------------------------------------


def loss_of(network: ClickNet, image: Tensor, target: Tensor, recipe: Recipe) -> Tensor:
    """Compute the loss: cross-entropy and dice of the masks where a window shows the crystal, the cross-entropy of
    their IoU, and the triplet loss of the tokens. `image` (B, K × CHANNELS, SIDE, SIDE); `target` (B, K, 2, SIDE,
    SIDE)."""
    image = image.unflatten(1, (-1, CHANNELS))
    if network.training and torch.rand(()).item() < recipe.more:
        network.eval()
        with torch.no_grad():
            for _ in range(int(torch.randint(1, recipe.most + 1, ()))):
                image = with_more_clicks(network, image, target)
        network.train()
    logits, quality, alike = (part.float() for part in network(image))
    truth, share = target[:, :, 0], target[:, :, 1, 0, 0]
    sees = (share >= WHOLE).float() + 0.2 * (share < WHOLE).float() * (share > 0).float()
    cross = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=(2, 3))
    both = (logits.sigmoid() * truth).sum(dim=(2, 3))
    dice = 1 - (2 * both + 1) / (logits.sigmoid().sum(dim=(2, 3)) + truth.sum(dim=(2, 3)) + 1)
    mask = ((cross + dice) * sees).sum() / sees.sum().clamp(min=1)
    good = functional.binary_cross_entropy_with_logits(quality, share * iou_of(logits > 0, truth > 0))
    return mask + 0.5 * good + 0.2 * triplet(alike, truth, recipe.margin)


def iou_of(found: Tensor, truth: Tensor) -> Tensor:
    """Compute the IoU of each pair of masks, bool (B, K, h, w)."""
    both, either = (found & truth).sum(dim=(2, 3)), (found | truth).sum(dim=(2, 3))
    return both / either.clamp(min=1)


def triplet(alike: Tensor, truth: Tensor, margin: float) -> Tensor:
    """Compute the triplet loss. Tokens of the crystal must be more similar to the clicked tokens than other tokens are,
    by `margin`. It compares the mean similarity of the crystal's own tokens with that of the more similar half of the
    others. `alike` (B, K, tokens); `truth` (B, K, h, w)."""
    share = functional.avg_pool2d(truth, PATCH).flatten(2)
    own, other = (share > 0.5).float(), (share < 0.05).float()
    near = (alike * own).sum(dim=2) / own.sum(dim=2).clamp(min=1)
    weight = other * (alike.detach() * 8).exp()
    far = (alike * weight).sum(dim=2) / weight.sum(dim=2).clamp(min=1e-6)
    there = ((own.sum(dim=2) > 0) & (other.sum(dim=2) > 0)).float()
    return (functional.relu(margin - near + far) * there).sum() / there.sum().clamp(min=1)


def with_more_clicks(network: Callable, image: Tensor, target: Tensor) -> Tensor:
    """Add one click to the windows, in the middle of the largest wrong piece at the resolution that sees the crystal
    best. The answer at that resolution becomes the previous mask."""
    logits, quality, _ = network(image)
    best = (quality + 20 * (target[:, :, 1, 0, 0] >= WHOLE)).argmax(dim=1).tolist()
    image = image.clone()
    for item, level in enumerate(best):
        found = (logits[item, level] > 0).cpu().numpy()
        truth = target[item, level, 0].cpu().numpy() > 0
        missed, extra = (
            distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1] for wrong in (truth & ~found, found & ~truth)
        )
        channel, depth = (INSIDE, missed) if missed.max() >= extra.max() else (OUTSIDE, extra)
        y, x = (int(p) - SIDE // 2 for p in np.unravel_index(int(depth.argmax()), depth.shape))
        mask = torch.from_numpy(found).to(image)[None, None]
        for k in range(image.shape[1]):
            zoom = 2.0 ** (k - level)
            image[item, k, BEFORE] = _zoomed(mask, zoom)
            if depth.max() > 0:
                dot(image[item, k, channel], round(y * zoom) + SIDE // 2, round(x * zoom) + SIDE // 2)
    return image


def _zoomed(mask: Tensor, zoom: float) -> Tensor:
    """Enlarge a mask (1, 1, SIDE, SIDE) about its middle. Returns (SIDE, SIDE), zero beyond the mask."""
    if zoom == 1:
        return mask[0, 0]
    theta = torch.tensor([[[1 / zoom, 0, 0], [0, 1 / zoom, 0]]], device=mask.device)
    grid = functional.affine_grid(theta, list(mask.shape), align_corners=False)
    return functional.grid_sample(mask, grid, mode="nearest", align_corners=False)[0, 0]


# --- the training ----------------------------------------------------------------------------------------------------


def validation_batches(
    folders: Sequence[Folder], recipe: Recipe, images: int = 24, count: int = 192
) -> list[tuple[Tensor, Tensor]]:
    """Return fixed items: crystals from the folders' images, and from synthetic images that training never sees."""
    pool = Pool(folders, recipe, seed=1_000_001)
    seen = [Clickable.of(*next(pool.images)[:2], pool.models, recipe.network) for _ in range(images)]
    seen = [image for image in seen if image.octaves]
    rng = np.random.default_rng(1)
    return stacked([item_of(seen[k % len(seen)], rng, recipe) for k in range(count)])


def train(arguments: TrainingArguments) -> Path:
    """Train ClickNet. Returns the path of the weights that are kept, `<output>/clicks.safetensors`."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    torch.manual_seed(limit.seed)
    network = ClickNet(choice.helped)
    source = partial(Pool, tuple(arguments.folders), choice, limit.seed)
    stream = Stream(source, partial(item_of, recipe=choice), limit.seed)
    batches = validation_batches(arguments.validation, choice)
    loss = partial(loss_of, recipe=choice)
    return fit_and_keep("clicks", network, arguments, choice, limit, lambda _: (stream, limit.batch), loss, batches)
