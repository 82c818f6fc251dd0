"""What teaching a material brings, by the crystals a person checks: guided beside random choice, at equal learning.

    python -m benchmarks.teaching FOLDER [--test FOLDER] [--steps 150] [--crystals 20 100 300] [--seeds 1] [--json FILE]

FOLDER holds labelled images of a material that the shipped weights have not seen; half of them (or those of --test) are
never taught and tell PQ and the error of the mean size. A simulated person checks fields of about 20 crystals, which
`evaluation.acquisition` offers or chance does, until so many crystals are checked, and labels them without error.
Minutes are estimates of the same module. The record of this machine is not touched.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from crystalseg.evaluation.acquisition import FieldOffer, Seen, offers
from crystalseg.evaluation.metrics import score
from crystalseg.micrographs.annotations import Annotation, annotation, inside, read_annotations
from crystalseg.segmentation.methods import JUDGES
from crystalseg.segmentation.models import Models, load_models, with_network
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.training.taught_judge import learn_judge
from crystalseg.training.teaching import Recipe, begin, learn

SETTINGS = Settings()


def looked_at(images: Sequence[Annotation], models: Models) -> list[Seen]:
    """What the network finds in images, as a person sees it before correcting."""
    found = [segment(one.micrograph, SETTINGS, models) for one in images]
    return [
        Seen(str(k), one.micrograph.pixels, each.labels, each.confidence)
        for k, (one, each) in enumerate(zip(images, found, strict=True))
    ]


def fields(seen: Sequence[Seen], guided: bool, rng: np.random.Generator) -> list[FieldOffer]:
    """All fields that do not overlap, in the order in which they are labelled."""
    found = offers(seen, most=10_000)
    return found if guided else [found[k] for k in rng.permutation(len(found))]


def checked(
    images: Sequence[Annotation], chosen: Sequence[FieldOffer], crystals: int
) -> tuple[list[Annotation], float]:
    """The images as they are once about so many crystals are checked, and the minutes that took."""
    masks = {k: np.zeros(one.labels.shape, bool) for k, one in enumerate(images)}
    minutes = 0.0
    for field in chosen:
        count = sum(inside(images[k].labels, mask).max(initial=0) for k, mask in masks.items() if mask.any())
        if count >= crystals:
            break
        top, left, bottom, right = field.box
        masks[int(field.key)][top:bottom, left:right] = True
        minutes += field.minutes
    given = []
    for k, mask in masks.items():
        if inside(images[k].labels, mask).any():
            given.append(annotation(images[k].micrograph, images[k].labels, mask))
    return given, minutes


def judged(tests: Sequence[Annotation], models: Models) -> dict[str, float]:
    """Mean PQ, mean relative error of the mean size and of the number, on images that were not taught."""
    found = [segment(one.micrograph, SETTINGS, models).labels for one in tests]
    rows = [score(one.labels, labels) for one, labels in zip(tests, found, strict=True)]
    number = [abs(labels.max() / one.labels.max() - 1) for one, labels in zip(tests, found, strict=True)]
    pq, mre = ([r[key] for r in rows] for key in ("pq", "mre_acs"))
    return {"pq": float(np.mean(pq)), "mre": float(np.mean(mre)), "number": float(np.mean(number))}


def taught(models: Models, given: Sequence[Annotation], steps: int, seed: int) -> Models:
    """The networks after learning what was checked."""
    state = models["folded"].state_dict()
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(steps=steps, every=steps, seed=seed)
        learnt = learn(begin("folded", state), given, (), recipe, Path(folder))
    assert learnt is not None
    after = with_network(models, "folded", begin("folded", learnt[0]).eval())
    return with_network(after, JUDGES["folded"], learn_judge(after, "folded", given, seed))


def curve(folder: Path, test: Path | None, steps: int, crystals: Sequence[int], seeds: int) -> pd.DataFrame:
    """A row for before, and for each number of crystals, choice and seed."""
    models = load_models(device="cpu")
    images = read_annotations(folder)
    tests = read_annotations(test) if test else images[1::2]
    images = images if test else images[::2]
    seen = looked_at(images, models)
    rows = [{"crystals": 0, "choice": "", "minutes": 0.0, **judged(tests, models)}]
    print(rows[0], flush=True)
    for seed in range(seeds):
        for choice in ("guided", "random"):
            chosen = fields(seen, choice == "guided", np.random.default_rng(seed))
            for number in crystals:
                given, minutes = checked(images, chosen, number)
                count = sum(one.crystals for one in given)
                found = judged(tests, taught(models, given, steps, seed))
                rows.append({"crystals": count, "choice": choice, "minutes": minutes, **found})
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--crystals", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CRYSTALSEG_HOME"] = home
        table = curve(given.folder, given.test, given.steps, given.crystals, given.seeds)
    print(table.to_string(index=False, float_format="%.3f"))
    if given.json:
        given.json.write_text(json.dumps(table.to_dict("records"), indent=1))


if __name__ == "__main__":
    main()
