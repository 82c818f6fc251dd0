"""What any threshold finds: discs and polygons of one brightness on a ground of another, found by SiMA+.

    python -m benchmarks.plain_shapes [--weights A B …]

Each of the --weights is a folder of weights files; without it, the shipped ones. Sixty shapes an image of 512 px, drawn
without the package's generator, brighter and darker than their ground, by noise and size. Printed is the PQ of each.
"""

import argparse
import itertools
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.segmentation import load_models, segment
from crystalseg.segmentation.settings import Settings

SIDE, COUNT, DARK, BRIGHT = 512, 60, 40, 215
SIZES = ((12, 40), (30, 120))  # px, smallest and largest diameter


def shapes(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> np.ndarray:
    """Labels int32 (SIDE, SIDE) of discs or polygons that lie at least three pixels apart."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    count = 0
    for _ in range(4000):
        radius = np.exp(rng.uniform(*np.log(np.divide(size, 2))))
        y, x = rng.uniform(0, SIDE, 2)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        if kind == "disc":
            cv2.circle(mask, (int(x), int(y)), round(radius), 1, -1)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 9)))
            if np.diff(angles, append=angles[0] + 2 * np.pi).max() > 2:
                continue
            corners = np.column_stack((x + radius * np.cos(angles), y + radius * np.sin(angles)))
            cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
        if mask.sum() >= 40 and not labels[cv2.dilate(mask, np.ones((7, 7), np.uint8)) > 0].any():
            count += 1
            labels[mask > 0] = count
        if count == COUNT:
            break
    return labels


def picture(rng: np.random.Generator, labels: np.ndarray, crystal: int, ground: int, noise: float) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): labels of one gray value on a ground of another, a little blurred, with noise."""
    sharp = np.where(labels > 0, np.float32(crystal), np.float32(ground))
    gray = cv2.GaussianBlur(sharp, (0, 0), 0.8) + rng.normal(0, noise, labels.shape)
    return np.repeat(np.clip(gray, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, nargs="+", default=[DIRECTORY])
    rows = []
    for folder in parser.parse_args().weights:
        models = load_models(folder, device="cpu")
        for kind, is_bright, noise, size in itertools.product(("disc", "polygon"), (True, False), (0, 3, 15), SIZES):
            rng = np.random.default_rng(5)
            labels = shapes(rng, kind, size)
            pixels = picture(rng, labels, *((BRIGHT, DARK) if is_bright else (DARK, BRIGHT)), noise)
            found = segment(Micrograph(pixels, "drawn", ""), Settings(), models).labels
            row = {"weights": folder, "shapes": f"{'bright' if is_bright else 'dark'} {kind}s", "noise": noise}
            rows.append(row | {"size": f"{size[0]} to {size[1]} px", "PQ": panoptic_quality(labels, found)})
    table = pd.DataFrame(rows).pivot_table("PQ", ["weights", "shapes", "noise"], "size", sort=False)
    print(table.to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
