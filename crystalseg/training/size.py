"""Train the SizeModel on the style vectors of a trained CPNet."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crystalseg.networks import DIRECTORY
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.size import SizeModel
from crystalseg.networks.weights import load_weights
from crystalseg.training.augmentation import flow_patch
from crystalseg.training.data import Mixture
from crystalseg.training.loop import Schedule, TrainingArguments, changed, save_trained


@dataclass(frozen=True)
class Recipe:
    """How the SizeModel is trained.

    diameters: range of mean crystal diameters that are shown, px, log-uniform.
    patch: side of the patches, px. patches: their number.
    synthetic: share of patches from the generator.
    ridge: the penalty (Cellpose: 1).
    """

    diameters: tuple[float, float] = (12.0, 200.0)
    patch: int = 224
    patches: int = 800
    synthetic: float = 0.5
    ridge: float = 1.0


def _styles(network: CPNet, source: Mixture, recipe: Recipe, seed: int) -> tuple[Tensor, Tensor]:
    """Return style vectors (n, 256) of random patches, and the mean diameter (n,), px, of the whole crystals at their
    scale."""
    rng = np.random.default_rng(seed)
    styles: list[Tensor] = []
    diameters: list[float] = []
    while len(styles) < recipe.patches:
        s = source(rng)
        wanted = np.exp(rng.uniform(*np.log(recipe.diameters)))
        # The limits that `flow_patch` puts on the factor would change the wanted diameter.
        if s.diameter == 0 or not 48 / max(s.labels.shape) < wanted / s.diameter < 5:
            continue
        item = flow_patch(s, rng, recipe.patch, wanted, (1.0, 1.0 + 1e-9))
        if item is None:
            continue
        with torch.inference_mode():
            styles.append(network.style(network.downsample(torch.from_numpy(item[0][None]))[-1])[0])
        diameters.append(wanted)
    return torch.stack(styles), torch.tensor(diameters)


def train(arguments: TrainingArguments) -> Path:
    """Fit the SizeModel. Returns the path of its weights. The loss on record is the median error of the diameter."""
    choice, limit = changed(Recipe(), arguments.recipe), changed(Schedule(), arguments.schedule)
    network = CPNet().eval()
    network.load_state_dict(load_weights(arguments.start or DIRECTORY / "cellpose.safetensors", "cellpose")[0])
    model = SizeModel()
    model.fit(
        *_styles(network, Mixture(arguments.folders, choice.synthetic, limit.seed, True), choice, limit.seed),
        choice.ridge,
    )
    held_out = Mixture(arguments.validation, choice.synthetic, limit.seed + 1, True)
    styles, truth = _styles(network, held_out, changed(choice, '{"patches": 150}'), limit.seed + 1)
    with torch.inference_mode():
        error = float((model(styles) - truth.log()).abs().median().expm1())
    print(f"median error of the diameter on validation patches: {100 * error:.0f} %")
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "size.safetensors"
    record = {"validation_loss": error, "minutes": 0, "step": choice.patches}
    save_trained(path, "size", arguments.folders, asdict(choice), model, record)
    return path
