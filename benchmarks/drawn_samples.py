"""Drawn micrographs beside real ones, as one picture: does the generator look like what microscopes show?

    python -m benchmarks.drawn_samples OUT.jpg FOLDER … [--seed 60] [--count 60]

First rows: crops of the labelled images of each FOLDER; then what `synthetic.draw` makes of `count` even seeds, any
structure and look, with training's further changes of the picture (`training.imaging`) in every second one.
"""

import argparse
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation.tiling import limits, normalise
from crystalseg.synthetic.drawing import draw
from crystalseg.training.imaging import imaged

SIDE, COLUMNS, GAP = 144, 10, 4


def real(folders: list[Path]) -> list[np.ndarray]:
    """Middles of images that fill two rows: of each folder in turn while it has any."""
    pictures = [[micrograph.pixels for micrograph, _ in read_pairs(folder)] for folder in folders]
    in_turn = [p for row in zip_longest(*pictures) for p in row if p is not None]
    tiles = []
    for pixels in in_turn[: 2 * COLUMNS]:
        side = min(320, *pixels.shape[:2])
        top, left = (length // 2 - side // 2 for length in pixels.shape[:2])
        middle = pixels[top : top + side, left : left + side]
        tiles.append(cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_AREA))
    return tiles


def drawn(seed: int, count: int) -> list[np.ndarray]:
    tiles = []
    for k in range(count):
        rng = np.random.default_rng((seed, k))
        side = int(np.exp(rng.uniform(np.log(224), np.log(420))))
        image = draw(2 * (1000 * seed + k), (side, side)).image
        tile = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if k % 2:
            changed = np.clip(imaged(normalise(tile, *limits(tile)), rng), 0, 1)
            tile = (255 * changed.transpose(1, 2, 0)).astype(np.uint8)
        tiles.append(tile)
    return tiles


def sheet(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles in rows of COLUMNS on white."""
    rows = -(-len(tiles) // COLUMNS)
    picture = np.full((rows * (SIDE + GAP) - GAP, COLUMNS * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for k, tile in enumerate(tiles):
        y, x = (n * (SIDE + GAP) for n in divmod(k, COLUMNS))
        picture[y : y + SIDE, x : x + SIDE] = tile
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=60)
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    between = np.full((4 * GAP, COLUMNS * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    parts = (sheet(real(options.folders)), between, sheet(drawn(options.seed, options.count)))
    cv2.imwrite(str(options.out), np.concatenate(parts)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])


if __name__ == "__main__":
    main()
