"""Mosaics of several sizes through the command line, memory watched from outside; and windows beside the whole.

    python -m benchmarks.mosaics [--sides 2000 6000] [--equal 4000] [--seed 3] [--workers 0] [--batch]

A mosaic is made of drawn fields of 2000 × 2000 px side by side, whose crystals are known. For each side: seconds a
megapixel of segmentation and altogether, peak memory of the process and those it starts (their resident sets added
up), and the mean PQ against the truth in up to nine fields. --equal: the side of a mosaic that is segmented in windows
and whole (0: none). --batch: through a batch, one field as an image of its own beside the mosaic.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from crystalseg.environment import MAX_MEGAPIXELS
from crystalseg.evaluation.metrics import panoptic_quality
from crystalseg.micrographs.pyramids import PyramidFile
from crystalseg.segmentation import load_models, mosaic, sima_plus
from crystalseg.segmentation.progress import Clock
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

FIELD = 2000  # px
DIAMETERS = (45, 60, 70, 90, 120, 50)  # px, of the fields in turn


def drawn_mosaic(side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (side, side, 3) and labels int32."""
    fields = [
        draw(seed + k, (FIELD, FIELD), Structure("polycrystal", diameter=d, spread=0.7))
        for k, d in enumerate(DIAMETERS[: math.ceil(side / FIELD) ** 2])
    ]
    image = np.zeros((side, side, 3), np.uint8)
    labels = np.zeros((side, side), np.int32)
    count = 0
    for i, top in enumerate(range(0, side, FIELD)):
        for j, left in enumerate(range(0, side, FIELD)):
            field = fields[(7 * i + 3 * j) % len(fields)]
            here = slice(top, min(top + FIELD, side)), slice(left, min(left + FIELD, side))
            own = field.labels[: here[0].stop - top, : here[1].stop - left]
            image[here] = field.image[: own.shape[0], : own.shape[1]]
            labels[here] = np.where(own > 0, own + count, 0)
            count += int(field.labels.max())
    return image, labels


def watched(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds a command takes, and the most memory of it and its children, GiB."""
    began, most = time.perf_counter(), 0
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                most = max(most, sum(p.memory_info().rss for p in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, most / 2**30


def measured(side: int, seed: int, workers: int, batch: bool = False) -> dict[str, float]:
    """One mosaic by the command line, alone or in a batch."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        image, truth = drawn_mosaic(side, seed)
        images = place / "images"
        images.mkdir()
        tifffile.imwrite(images / "mosaic.tif", image, tile=(512, 512), compression="zlib", bigtiff=True)
        if batch:
            tifffile.imwrite(images / "field.tif", image[:FIELD, :FIELD])
        del image
        verb = ["batch", str(images)] if batch else ["mosaic", str(images / "mosaic.tif")]
        command = [sys.executable, "-m", "crystalseg", *verb, "--out", str(place / "out"), "--workers"]
        environment = os.environ | {"CRYSTALSEG_HOME": str(place / "home")}
        seconds, memory = watched([*command, str(max(workers, int(batch)))], environment)
        run = json.loads((place / "out" / "mosaic_run.json").read_text())
        labels = PyramidFile(place / "out" / "mosaic_labels.ome.tif")
        megapixels = side**2 / 1e6
        return {
            "side_px": side,
            "megapixels": megapixels,
            "crystals": run["figures"]["found"],
            "segmentation_s_per_mp": sum(run["timings"].values()) / megapixels,
            "network_s_per_mp": sum(s for name, s in run["timings"].items() if name.startswith("scale")) / megapixels,
            "all_s_per_mp": seconds / megapixels,
            "peak_gib": memory,
            "pq_of_fields": float(np.mean([_quality(truth, labels, *place) for place in _some(side)])),
        }


def _some(side: int, most: int = 9) -> list[tuple[int, int]]:
    """The first pixels of some fields, spread evenly."""
    every = [(top, left) for top in range(0, side, FIELD) for left in range(0, side, FIELD)]
    return every[:: max(1, len(every) // most)]


def _quality(truth: np.ndarray, labels: PyramidFile, top: int, left: int) -> float:
    """PQ in one field."""
    own = truth[top : top + FIELD, left : left + FIELD]
    found, _ = labels.read((top, left, top + own.shape[0], left + own.shape[1]), FIELD)
    return panoptic_quality(own, found.astype(np.int32))


def differing(side: int, seed: int) -> tuple[int, int]:
    """Crystals found, and pixels that windows give to another crystal than the whole does."""
    image, _ = drawn_mosaic(side, seed)
    models = load_models(device="cpu")
    whole = sima_plus.run(Pyramid(models, image), Settings(), Clock(), lambda _: None).labels
    parts = mosaic.run(Pyramid(models, image), Settings(), Clock(), lambda _: None).labels
    return int(whole.max()), int(np.count_nonzero(whole != parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[2000, 6000])
    parser.add_argument("--equal", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch", action="store_true")
    options = parser.parse_args()
    if options.batch and min(options.sides) ** 2 <= MAX_MEGAPIXELS * 1e6:
        parser.error(f"--batch: what has no more than {MAX_MEGAPIXELS:.0f} megapixels is no mosaic there")
    for side in options.sides:
        print(
            "  ".join(f"{k} {v:.3g}" for k, v in measured(side, options.seed, options.workers, options.batch).items()),
            flush=True,
        )
    if options.equal:
        count, pixels = differing(options.equal, options.seed)
        print(f"{options.equal} px in windows and whole: {count} crystals, {pixels} pixels differ")


if __name__ == "__main__":
    main()
