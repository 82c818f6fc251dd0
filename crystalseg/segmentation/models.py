"""The networks of a run, loaded together and ready on a device."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from crystalseg.networks import DIRECTORY
from crystalseg.networks.boundary import build_boundary
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.clicks import ClickNet
from crystalseg.networks.confidence import Confidence
from crystalseg.networks.efficientnet import EfficientUNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.sa2 import SA2Net
from crystalseg.networks.sima import build_sima
from crystalseg.networks.size import SizeModel
from crystalseg.networks.weights import (
    WeightsError,
    file_hash,
    flow_inputs,
    load_cellpose_file,
    load_weights,
    weights_in,
)
from crystalseg.segmentation.methods import JUDGES
from crystalseg.segmentation.precision import best_device
from crystalseg.segmentation.scales import SIZE_THRESHOLDS
from crystalseg.segmentation.settings import Settings

# For each weights file, how its network is built from its contents.
BUILD: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "cellpose": lambda state: CPNet(flow_inputs(state)),
    "folded": lambda _: FoldedCPNet(),
    "efficientnet": lambda _: EfficientUNet(),
    "sima": lambda state: build_sima(len(state["segmentation_head.0.bias"]) - 1),
    "sima-sa2": SA2Net.shaped,
    "confidence": Confidence.shaped,
    "folded-confidence": Confidence.shaped,
    "efficientnet-confidence": Confidence.shaped,
    "size": lambda _: SizeModel(),
    "boundary": lambda _: build_boundary(),
    "boundary-sa2": SA2Net.shaped,
    "clicks": lambda _: ClickNet(),
}
_JUDGE = "judge."  # prefix of the judge's weights in a model file
REQUIRED = ("cellpose", "sima")  # a folder of weights has at least these


class Networks(Mapping[str, nn.Module]):
    """Networks by name. Each is built on first use, because a run needs only two of many."""

    def __init__(self, makers: Mapping[str, Callable[[], nn.Module]]):
        self._makers = {name: cache(make) for name, make in makers.items()}

    def __getitem__(self, name: str) -> nn.Module:
        return self._makers[name]()

    def __contains__(self, name: object) -> bool:
        return name in self._makers

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    @staticmethod
    def with_others(
        before: Mapping[str, nn.Module], others: Mapping[str, nn.Module], without: Collection[str] = ()
    ) -> "Networks":
        """Return the networks of `before` except `without`, with `others` replacing some of them."""
        kept: dict[str, Callable[[], nn.Module]] = {
            name: partial(before.__getitem__, name) for name in before if name not in without
        }
        return Networks(kept | {name: partial(others.__getitem__, name) for name in others})


@dataclass(frozen=True)
class Models:
    """The networks, ready on a device, by the name of their weights; for example `models["sima"]`. A name without
    weights raises WeightsError with the remedy. size_thresholds: the size thresholds (%) that each network of size
    levels was trained for, by name, if they differ from SIZE_THRESHOLDS; hashes: SHA-256 of each weights file;
    versions: their names and versions in words."""

    networks: Mapping[str, nn.Module]
    device: torch.device
    size_thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> nn.Module:
        if name not in self.networks:
            raise WeightsError(f"This method needs {name} weights. Train them with: python -m crystalseg train {name}")
        return self.networks[name]

    def levels_of(self, name: str) -> tuple[float, ...]:
        """Return the size thresholds (%) that a network of size levels was trained for."""
        return self.size_thresholds.get(name, SIZE_THRESHOLDS)

    def judge(self, settings: Settings) -> Confidence:
        """Return the network that judges the proposals of SiMA+'s flow network."""
        network = self[JUDGES[settings.architecture]]
        assert isinstance(network, Confidence)
        return network

    def used_by(self, settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
        """Return hashes and versions of the weights that a run uses, by name."""
        hashes, versions = (
            {n: facts[n] for n in settings.networks if n in facts} for facts in (self.hashes, self.versions)
        )
        return hashes, versions

    def parameters(self, settings: Settings) -> int:
        """Return the total number of parameters of a run's networks."""
        used = [self.networks[name] for name in settings.networks if name in self.networks]
        return sum(p.numel() for network in used for p in network.parameters())


@dataclass(frozen=True)
class Taught:
    """A model on record that replaces the shipped weights of its architecture. reference: NAME:VERSION; network: its
    architecture; sha256, data: of its weights file, which may include a judge of its own (`one_state`)."""

    reference: str
    network: str
    sha256: str
    data: bytes = field(repr=False)

    def networks(self) -> dict[str, nn.Module]:
        """Return its networks by the name of the weights they replace, on the CPU. Raises WeightsError if they do not
        fit."""
        what = f"Model {self.reference}"
        state, _ = weights_in(self.data, self.network, what)
        judge = {key.removeprefix(_JUDGE): values for key, values in state.items() if key.startswith(_JUDGE)}
        flow = {key: values for key, values in state.items() if not key.startswith(_JUDGE)}
        states = {self.network: flow} | ({JUDGES[self.network]: judge} if judge else {})
        return {name: _built(name, of, what) for name, of in states.items()}


def one_state(flow: Mapping[str, Tensor], judge: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a flow network and of the judge of its proposals, for one file."""
    return {**flow, **{_JUDGE + key: values for key, values in judge.items()}}


def load_judge(settings: Settings, taught: Taught | None = None, directory: Path = DIRECTORY) -> Confidence:
    """Load only the network that judges proposals, on the CPU; `pipeline.rethreshold` needs no other. If the model
    `taught` has a judge of its own, return that judge."""
    name = JUDGES[settings.architecture]
    own = taught.networks() if taught else {}
    network = own[name] if name in own else load_network(directory / f"{name}.safetensors", name)
    assert isinstance(network, Confidence)
    return network


def load_clicks(directory: Path = DIRECTORY) -> ClickNet | None:
    """Load only the network that makes a crystal from clicks, on the CPU, or return None if it has no weights."""
    if not (directory / "clicks.safetensors").is_file():
        return None
    network = load_network(directory / "clicks.safetensors", "clicks")
    assert isinstance(network, ClickNet)
    return network


def with_taught(models: Models, taught: Taught | None) -> Models:
    """Return the networks with the weights of `taught` in place of those of its architecture, and of the judge if
    `taught` has one. Raises WeightsError if they do not fit."""
    if taught is None:
        return models
    own = {name: _ready(network, models.device) for name, network in taught.networks().items()}
    # the SizeModel only reads the style vectors of our CPNet
    networks = Networks.with_others(models.networks, own, ("size",) if taught.network == "cellpose" else ())
    return replace(
        models,
        networks=networks,
        hashes=models.hashes | dict.fromkeys(own, taught.sha256),
        versions=models.versions | dict.fromkeys(own, taught.reference),
    )


def with_network(models: Models, name: str, network: nn.Module) -> Models:
    """Return the networks with `network`, which must be ready, in place of `name`."""
    return replace(models, networks=Networks.with_others(models.networks, {name: network}))


def _ready(network: nn.Module, device: torch.device) -> nn.Module:
    return network.eval().to(device).to(memory_format=torch.channels_last)


def _built(name: str, state: Mapping[str, Tensor], what: str) -> nn.Module:
    """Return the network of that name with these weights, for inference."""
    try:
        network = BUILD[name](state)
        network.load_state_dict(state)
    except (RuntimeError, KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        raise WeightsError(f"{what} holds weights of another architecture than '{name}'.") from error
    return _ready(network, torch.device("cpu"))


def load_network(path: Path, name: str) -> nn.Module:
    """Load the network called `name` (of BUILD) from a weights file, on the CPU, for inference. Raises WeightsError if
    the file does not exist or holds other weights."""
    state, _ = load_weights(path, name)
    try:
        return _built(name, state, str(path))
    except WeightsError as error:
        remedy = f"Use the file that came with this version, or remove it and train (python -m crystalseg train {name})"
        raise WeightsError(f"{path} belongs to another version of crystalseg. {remedy}.") from error


def load_models(directory: Path = DIRECTORY, device: str = "auto", flow_file: Path | None = None) -> Models:
    """Load the shipped networks, or those in another directory, for inference. Raises WeightsError if a file is
    missing.

    Only those of REQUIRED must be there; a method that needs another file raises its own error. `flow_file`: a Cellpose
    2 or 3 model file, with two or three channels, that replaces our CPNet.

    >>> from crystalseg import load_models
    >>> models = load_models(device="cpu")
    >>> {"folded", "cellpose", "sima"} <= models.hashes.keys()
    True
    """
    where = best_device() if device == "auto" else torch.device(device)
    path = {name: directory / f"{name}.safetensors" for name in BUILD}
    given = {name: p for name, p in path.items() if name in REQUIRED or p.is_file()}
    if flow_file is not None:
        # the SizeModel only reads the style vectors of our CPNet
        given = {name: p for name, p in given.items() if name not in ("cellpose", "size")}
    cards = {name: load_weights(p, name)[1] for name, p in given.items()}
    hashes = {name: file_hash(p) for name, p in given.items()}
    versions = {name: card.version for name, card in cards.items()}
    networks = Networks({name: partial(lambda n: _ready(load_network(given[n], n), where), name) for name in given})
    if flow_file is not None:
        state = load_cellpose_file(flow_file)
        own = CPNet(flow_inputs(state))
        own.load_state_dict(state)
        networks = Networks.with_others(networks, {"cellpose": _ready(own, where)})
        hashes["cellpose"], versions["cellpose"] = file_hash(flow_file), f"file {Path(flow_file).name}"
    trained = {name: json.loads(card.settings).get("thresholds", SIZE_THRESHOLDS) for name, card in cards.items()}
    size_thresholds = {name: tuple(limits) for name, limits in trained.items()}
    return Models(networks, where, size_thresholds, hashes, versions)
