"""The networks of a run, loaded together and ready on a device."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from crystalseg.networks import DIRECTORY
from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.sima import build_sima
from crystalseg.networks.size import SizeModel
from crystalseg.networks.weights import WeightsError, file_hash, flow_inputs, load_cellpose_file, load_weights
from crystalseg.segmentation.methods import method_of
from crystalseg.segmentation.settings import THRESHOLDS

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Models:
    """The networks, ready on a device. flow: CPNet, ours or a user's; attention: SiMA; confidence: judges SiMA+'s
    proposals; size: SizeModel for our CPNet's style; boundary: for the method of that name; these three None where
    there are no weights. thresholds: the size limits (%) SiMA was trained for; hashes: SHA-256 of each weights file;
    versions: their names and versions in words."""

    flow: CPNet
    attention: nn.Module
    confidence: Confidence | None
    size: SizeModel | None
    boundary: nn.Module | None
    device: torch.device
    thresholds: tuple[float, ...] = THRESHOLDS
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def used_by(self, method: str) -> tuple[dict[str, str], dict[str, str]]:
        """Hashes and versions of the weights that a method uses, by name."""
        names = method_of(method).networks
        hashes, versions = ({n: facts[n] for n in names if n in facts} for facts in (self.hashes, self.versions))
        return hashes, versions

    def parameters(self, method: str) -> int:
        """How many parameters the networks of a method have together."""
        networks = {
            "cellpose": self.flow,
            "sima": self.attention,
            "confidence": self.confidence,
            "size": self.size,
            "boundary": self.boundary,
        }
        used = [networks[name] for name in method_of(method).networks]
        return sum(p.numel() for network in used if network is not None for p in network.parameters())


def load_confidence(directory: Path = DIRECTORY) -> Confidence:
    """The network that judges proposals, alone, on the CPU: enough for `pipeline.rethreshold`."""
    return _load(Confidence(), directory, "confidence")


def _load(network: N, directory: Path, name: str) -> N:
    path = directory / f"{name}.safetensors"
    try:
        network.load_state_dict(load_weights(path, name)[0])
    except RuntimeError as error:
        remedy = f"take the file that came with this one, or remove it and train (python -m crystalseg train {name})"
        raise WeightsError(f"{path} is of another version of crystalseg: {remedy}.") from error
    return network.eval()


def load_models(directory: Path = DIRECTORY, device: str = "auto", flow_file: Path | None = None) -> Models:
    """The shipped networks (or those in another directory) for inference; WeightsError if a file is missing.

    Only cellpose.safetensors and sima.safetensors must be there; methods that need another file say so.
    `flow_file`: a Cellpose 2 or 3 model file, with two channels or three, to be used instead of our CPNet.
    """
    where = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    )
    path = {name: directory / f"{name}.safetensors" for name in ("cellpose", "sima", "confidence", "size", "boundary")}
    given = {name: p for name, p in path.items() if name in ("cellpose", "sima") or p.is_file()}
    if flow_file is not None:
        # the SizeModel reads the style vectors of our CPNet only
        given = {name: p for name, p in given.items() if name not in ("cellpose", "size")}
    cards = {name: load_weights(p, name)[1] for name, p in given.items()}
    thresholds = tuple(json.loads(cards["sima"].settings).get("thresholds", THRESHOLDS))
    hashes = {name: file_hash(p) for name, p in given.items()}
    versions = {name: card.version for name, card in cards.items()}

    def ready(network: N) -> N:
        return network.eval().to(where).to(memory_format=torch.channels_last)

    def loaded(name: str, network: N) -> N | None:
        return ready(_load(network, directory, name)) if name in given else None

    if flow_file is None:
        flow = _load(CPNet(), directory, "cellpose")
    else:
        state = load_cellpose_file(flow_file)
        flow = CPNet(flow_inputs(state))
        flow.load_state_dict(state)
        hashes["cellpose"], versions["cellpose"] = file_hash(flow_file), f"file {Path(flow_file).name}"
    return Models(
        ready(flow),
        ready(_load(build_sima(len(thresholds)), directory, "sima")),
        loaded("confidence", Confidence()),
        loaded("size", SizeModel()),
        loaded("boundary", build_boundary()),
        where,
        thresholds,
        hashes,
        versions,
    )


def needed(network: N | None, name: str) -> N:
    """The network, or WeightsError with the remedy if there are no weights for it."""
    if network is None:
        raise WeightsError(f"This method needs {name} weights: train them (python -m crystalseg train {name}).")
    return network
