"""What teaching a material brings, by the crystals a person checks: guided beside random choice, at equal learning.

    python -m benchmarks.teaching FOLDER [--test FOLDER] [--others FOLDER] [--weights FOLDER] [--without MATERIAL]
                                  [--steps 150] [--crystals 20 100 300] [--seeds 1] [--json FILE]

FOLDER holds labelled images of a material that the weights have not seen. --weights: a folder of them, as `weights/`,
in place of the shipped ones; those are then judged too, as weights that know the material. Half of the images (or those
of --test) are never taught and tell PQ and the error of the mean size, each of them in the JSON; those of --others are
of other materials, and their PQ tells what is forgotten. Labelled fields that come with the program are rehearsed, but
for those of the materials --without. A simulated person checks fields of about 20 crystals, which
`evaluation.acquisition` offers or chance does, until so many crystals are checked, and labels them without error.
Minutes are estimates of the same module. The record of this machine is not touched.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crystalseg.evaluation.acquisition import FieldOffer, Seen, offers
from crystalseg.evaluation.metrics import score
from crystalseg.micrographs import examples
from crystalseg.micrographs.annotations import Annotation, annotation, inside, read_annotations
from crystalseg.networks import DIRECTORY
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


def judged(tests: Sequence[Annotation], models: Models) -> dict[str, Any]:
    """Mean PQ, mean relative error of the mean size and of the number, on images that were not taught; and of `each`
    image by name."""
    rows = {}
    for one in tests:
        labels = segment(one.micrograph, SETTINGS, models).labels
        found = score(one.labels, labels)
        number = abs(labels.max() / one.labels.max() - 1)
        rows[one.micrograph.name] = {"pq": found["pq"], "mre": found["mre_acs"], "number": float(number)}
    return {**pd.DataFrame(rows.values()).mean(), "each": rows}


def taught(
    models: Models, given: Sequence[Annotation], rehearsed: Sequence[Annotation], steps: int, seed: int
) -> Models:
    """The networks after learning what was checked."""
    state = models["folded"].state_dict()
    with tempfile.TemporaryDirectory() as folder:
        recipe = Recipe(steps=steps, every=steps, seed=seed)
        learnt = learn(begin("folded", state), given, (), recipe, Path(folder), rehearsed=rehearsed)
    assert learnt is not None
    after = with_network(models, "folded", begin("folded", learnt[0]).eval())
    return with_network(after, JUDGES["folded"], learn_judge(after, "folded", given, seed, rehearsed))


def curve(given: argparse.Namespace) -> pd.DataFrame:
    """A row for the weights that know the material, if others learn, for these before, and for each number of crystals,
    choice and seed."""
    images = read_annotations(given.folder)
    tests = read_annotations(given.test) if given.test else images[1::2]
    images = images if given.test else images[::2]
    others = [one for folder in given.others for one in read_annotations(folder)]
    rehearsed = [one for name, known in examples.rehearsed().items() if name not in given.without for one in known]
    rows: list[dict[str, Any]] = []

    def add(choice: str, crystals: int, minutes: float, models: Models) -> None:
        row = {"crystals": crystals, "choice": choice, "minutes": minutes, **judged(tests, models)}
        if others:
            row["others"] = judged(others, models)["pq"]
        rows.append(row)
        print({key: value for key, value in row.items() if key != "each"}, flush=True)

    models = load_models(given.weights or DIRECTORY, device="cpu")
    if given.weights:
        add("known", 0, 0.0, load_models(device="cpu"))
    add("", 0, 0.0, models)
    seen = looked_at(images, models)
    for seed in range(given.seeds):
        for choice in ("guided", "random"):
            chosen = fields(seen, choice == "guided", np.random.default_rng(seed))
            for number in given.crystals:
                lesson, minutes = checked(images, chosen, number)
                count = sum(one.crystals for one in lesson)
                add(choice, count, minutes, taught(models, lesson, rehearsed, given.steps, seed))
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--crystals", type=int, nargs="+", default=[20, 100, 300])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["CRYSTALSEG_HOME"] = home
        table = curve(given)
    print(table.drop(columns="each").to_string(index=False, float_format="%.3f"))
    if given.json:
        given.json.write_text(json.dumps(table.to_dict("records"), indent=1))


if __name__ == "__main__":
    main()
