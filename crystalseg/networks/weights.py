"""Weights in and out of files: safetensors, which cannot execute code; Cellpose's own files can be read too."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from crystalseg.errors import UserError


class WeightsError(UserError):
    """A weights file that is missing, damaged or of another network."""


@dataclass(frozen=True)
class Card:
    """What is written into a weights file's header.

    name: which network. version: of these weights. data: what they were trained on. metrics: what they reached.
    date: ISO 8601. settings: further settings the network needs to be used, as JSON.
    """

    name: str
    version: str
    data: str
    metrics: str
    date: str
    settings: str = "{}"


def save_weights(path: Path, state: Mapping[str, Tensor], card: Card, exact: bool = False) -> None:
    """Write `state` at half precision (vectors, such as batch norm's statistics, stay float32), or `exact` as it is,
    atomically."""
    small = dict(state)
    if not exact:
        small = {k: (v.half() if v.ndim > 1 else v.float() if v.is_floating_point() else v) for k, v in state.items()}
    part = Path(path).with_suffix(".part")
    try:
        part.write_bytes(_in_order(save({k: v.cpu().contiguous() for k, v in small.items()}, metadata=asdict(card))))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order, which the library writes in any: the same weights with
    the same card are then the same bytes, and have the same hash."""
    return _with_header(data, _header(data))


def _with_header(data: bytes, header: dict) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_BEGIN, "little") + text + data[_BEGIN + _header_size(data) :]


def with_note(data: bytes, name: str, text: str) -> bytes:
    """A weights file with a text in its header beside the card."""
    header = _header(data)
    return _with_header(data, header | {"__metadata__": header.get("__metadata__", {}) | {name: text}})


def without_note(data: bytes, name: str, what: str = "The file") -> tuple[bytes, str]:
    """The file as it was before `with_note`, and the text, "" if there is none; WeightsError, a sentence about `what`,
    if it is no such file."""
    try:
        header = _header(data)
        metadata = dict(header.get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{what} is no safetensors file, or is damaged.") from error
    text = metadata.pop(name, "")
    return _with_header(data, header | {"__metadata__": metadata}), text


_BEGIN = 8  # bytes that say how long the header is


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:_BEGIN], "little")


def _header(data: bytes) -> dict:
    return json.loads(data[_BEGIN : _BEGIN + _header_size(data)])


def load_weights(path: Path, name: str) -> tuple[dict[str, Tensor], Card]:
    """State dict (float32) and card of a safetensors file for the network called `name`; `WeightsError` otherwise."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"No weights at {path}: train them (python -m crystalseg train {name}) or give another file."
        )
    return weights_in(path.read_bytes(), name, str(path))


def weights_in(data: bytes, name: str, what: str) -> tuple[dict[str, Tensor], Card]:
    """As `load_weights`, from the bytes of a file; `what`: begins the sentence of a WeightsError."""
    try:
        state = load(data)
        card = Card(**_header(data).get("__metadata__", {}))
    except (SafetensorError, TypeError, ValueError) as error:
        raise WeightsError(f"{what} is not a crystalseg weights file, or is damaged ({error}).") from error
    if card.name != name:
        raise WeightsError(f"{what} holds weights of '{card.name}', but '{name}' is needed.")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, card


def load_tensors(path: Path, what: str = "weights") -> dict[str, Tensor]:
    """State dict of somebody's `what` file: safetensors, or a PyTorch pickle, read without executing code; WeightsError
    if it is none."""
    try:
        if Path(path).suffix == ".safetensors":
            return load(Path(path).read_bytes())
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"No {what} file at {path}.") from error
    except Exception as error:  # torch.load raises many kinds for a file that is none of its own
        raise WeightsError(f"{path} is not a {what} file ({type(error).__name__}).") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is not a {what} file, though a PyTorch file.")
    return state


def load_cellpose_file(path: Path) -> dict[str, Tensor]:
    """State dict of a Cellpose 2 or 3 model file."""
    state = load_tensors(path, "Cellpose 2 or 3 model")
    if "output.2.weight" not in state:
        raise WeightsError(f"{path} is a PyTorch file, but not of Cellpose's CPnet.")
    return state


def flow_inputs(state: Mapping[str, Tensor]) -> int:
    """Number of input channels of a CPNet state dict."""
    return state["downsample.down.res_down_0.conv.conv_0.2.weight"].shape[1]


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
