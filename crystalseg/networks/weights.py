"""Read and write weights files: safetensors, which cannot execute code, and Cellpose's own files (read only)."""

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
    """A weights file is missing, damaged or belongs to another network."""


@dataclass(frozen=True)
class Card:
    """The card in the header of a weights file.

    name: of the network. version: of these weights. data: what they were trained on. metrics: what they achieved.
    date: ISO 8601. settings: other settings that the network needs for use, as JSON.
    """

    name: str
    version: str
    data: str
    metrics: str
    date: str
    settings: str = "{}"


def save_weights(path: Path, state: Mapping[str, Tensor], card: Card, exact: bool = False) -> None:
    """Write `state` atomically, at half precision (vectors, such as batch norm statistics, stay float32), or unchanged
    if `exact`."""
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
    """Return a safetensors file with its header in alphabetical order. The library writes the header in any order; this
    gives the same weights with the same card the same bytes and the same hash."""
    return _with_header(data, _header(data))


def _with_header(data: bytes, header: dict) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_BEGIN, "little") + text + data[_BEGIN + _header_size(data) :]


def with_note(data: bytes, name: str, text: str) -> bytes:
    """Return a weights file with a text in its header beside the card."""
    header = _header(data)
    return _with_header(data, header | {"__metadata__": header.get("__metadata__", {}) | {name: text}})


def without_note(data: bytes, name: str, what: str = "The file") -> tuple[bytes, str]:
    """Return the file without the text of `with_note`, and the text, "" if there is none. Raises WeightsError, whose
    sentence starts with `what`, if it is no such file."""
    try:
        header = _header(data)
        metadata = dict(header.get("__metadata__", {}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{what} is not a safetensors file, or is damaged.") from error
    text = metadata.pop(name, "")
    return _with_header(data, header | {"__metadata__": metadata}), text


_BEGIN = 8  # bytes that hold the length of the header


def _header_size(data: bytes) -> int:
    return int.from_bytes(data[:_BEGIN], "little")


def _header(data: bytes) -> dict:
    return json.loads(data[_BEGIN : _BEGIN + _header_size(data)])


def load_weights(path: Path, name: str) -> tuple[dict[str, Tensor], Card]:
    """Return state dict (float32) and card of a safetensors file for the network called `name`. Raises WeightsError."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"No weights at {path}. Train them (python -m crystalseg train {name}) or give another file."
        )
    return weights_in(path.read_bytes(), name, str(path))


def weights_in(data: bytes, name: str, what: str) -> tuple[dict[str, Tensor], Card]:
    """Like `load_weights`, from the bytes of a file; `what` starts the sentence of a WeightsError."""
    try:
        state = load(data)
        card = Card(**_header(data).get("__metadata__", {}))
    except (SafetensorError, TypeError, ValueError) as error:
        raise WeightsError(f"{what} is not a crystalseg weights file, or is damaged ({error}).") from error
    if card.name != name:
        raise WeightsError(f"{what} holds weights of '{card.name}', but '{name}' is needed.")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}, card


def load_tensors(path: Path, what: str = "weights") -> dict[str, Tensor]:
    """Return the state dict of a user's `what` file: safetensors, or a PyTorch pickle, read without executing code.
    Raises WeightsError if it is neither."""
    try:
        if Path(path).suffix == ".safetensors":
            return load(Path(path).read_bytes())
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"No {what} file at {path}.") from error
    except Exception as error:  # torch.load raises many kinds of errors for other files
        raise WeightsError(f"{path} is not a {what} file ({type(error).__name__}).") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is a PyTorch file, but not a {what} file.")
    return state


def load_cellpose_file(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a Cellpose 2 or 3 model file."""
    state = load_tensors(path, "Cellpose 2 or 3 model")
    if "output.2.weight" not in state:
        raise WeightsError(f"{path} is a PyTorch file, but does not hold Cellpose's CPnet.")
    return state


def flow_inputs(state: Mapping[str, Tensor]) -> int:
    """Return the number of input channels of a CPNet state dict."""
    return state["downsample.down.res_down_0.conv.conv_0.2.weight"].shape[1]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
