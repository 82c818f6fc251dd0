"""Score a folder of labelled images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from crystalseg.evaluation.metrics import score
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.pairs import read_pairs


def evaluate_folder(
    folder: Path,
    method: Callable[[Micrograph], np.ndarray],
    report: Callable[[str, dict], None] = lambda *_: None,
    negative: bool = False,
) -> dict:
    """Score `method`, a function from a Micrograph to labels, on each `<id>.png` with `<id>_label.png` in `folder`.

    Returns {"images": {id: figures}, "mean": figures}; see `metrics.score`. Calls `report(id, figures)` for each image.
    With `negative`, label numbers below 0 are background.
    """
    images = {}
    for micrograph, truth in read_pairs(folder, negative):
        images[micrograph.name] = score(truth, method(micrograph))
        report(micrograph.name, images[micrograph.name])
    keys = next(iter(images.values()))
    return {
        "images": images,
        "mean": {key: float(np.mean([i[key] for i in images.values()])) for key in keys},
    }
