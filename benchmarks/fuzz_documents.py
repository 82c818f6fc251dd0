"""Damaged settings, profiles, label images, model files, ZIPs and back-ups through the functions that read them.

    python -m benchmarks.fuzz_documents [--count 3000] [--seed 0]

JSON is changed in its structure too: a value, anywhere, becomes one of another kind. Each file must be read, or
refused in one sentence by a ValueError, within SECONDS.
"""

import argparse
import io
import json
import random
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save

from benchmarks.fuzz import damaged
from crystalseg.errors import UserError
from crystalseg.execution.batch_source import Source
from crystalseg.measurement.specification import Limit
from crystalseg.micrographs.label_images import label_image
from crystalseg.networks.size import SizeModel
from crystalseg.networks.weights import load_cellpose_file, load_weights
from crystalseg.record.backup import FORMAT, entries_in
from crystalseg.record.profiles import Profile
from crystalseg.segmentation.settings import Settings

SECONDS = 5.0
VALUES = (
    *(None, True, False, 0, -1, 2**70, -(2**70), 1e308, -1e308, float("nan"), float("inf"), 0.5),
    *("", "a", "\x00", "\ud800", "=1+1", "x" * 10_000, "../../etc/passwd"),
    *([], [[]], {}, {"a": {}}, [None], [1, "a"], [0.5, 0.25], ["sima"]),
)


def with_another_value(document: Any, rng: random.Random) -> Any:
    """The same with one value, of any depth, put in another's place, left out or added."""
    if isinstance(document, dict) and document and rng.random() < 0.9:
        key = rng.choice(list(document))
        changed = dict(document)
        way = rng.random()
        if way < 0.05:
            del changed[key]
        elif way < 0.1:
            changed[rng.choice(["new", "", "method"])] = rng.choice(VALUES)
        else:
            changed[key] = with_another_value(document[key], rng)
        return changed
    if isinstance(document, list) and document and rng.random() < 0.7:
        place = rng.randrange(len(document))
        return [with_another_value(v, rng) if k == place else v for k, v in enumerate(document)]
    return rng.choice(VALUES)


@dataclass(frozen=True)
class Kind:
    """good: files that are read; read: the function that reads them; is_json: whether structure can be changed."""

    good: list[bytes]
    read: Callable[[bytes], object]
    is_json: bool = False

    def mutated(self, rng: random.Random) -> bytes:
        """One damaged file."""
        data = rng.choice(self.good)
        if self.is_json and rng.random() < 0.8:
            document = json.loads(data)
            for _ in range(rng.randint(1, 3)):
                document = with_another_value(document, rng)
            return json.dumps(document).encode()
        return damaged(data, self.good, np.random.default_rng(rng.getrandbits(32)))


def _in_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def reading(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "file.zip"
            path.write_bytes(data)
            return read(path)

    return reading


def _every_entry(path: Path) -> None:
    source = Source(path)
    for name in set(source.names):
        try:
            source.read(name)
        except UserError:
            continue


def _archive(members: dict[str, bytes], comment: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment.encode()
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def kinds() -> dict[str, Kind]:
    """What is read beside images."""
    limits = (Limit("mean", 20, 500), Limit("area_above", None, 0.1, 30.0))
    profile = Profile(
        "a", "b", True, "powder", Settings("sima"), limits, four_eyes=True, keep_images=9, decision_rule="guarded"
    )
    labels = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
    card = {"name": "size", "version": "1", "data": "", "metrics": "", "date": "2026-01-01", "settings": "{}"}
    state = SizeModel().state_dict()
    pickled = io.BytesIO()
    torch.save({"output.2.weight": torch.zeros(3, 32, 1, 1)}, pickled)
    images = {f"{k}/image.png": cv2.imencode(".png", labels)[1].tobytes() for k in range(3)}
    line = json.dumps([1, "run", "a", "2026", "", "{}", "0" * 64, "1" * 64]).encode()
    return {
        "settings": Kind(
            [Settings().to_json().encode()], lambda d: Settings.from_json(d.decode("utf-8", "replace")), True
        ),
        "profile": Kind([profile.to_json().encode()], lambda d: Profile.from_json(d.decode("utf-8", "replace")), True),
        "labels": Kind([cv2.imencode(e, labels)[1].tobytes() for e in (".png", ".tif")], _labels),
        "weights": Kind([save(state, metadata=card)], _in_file(lambda path: load_weights(path, "size"))),
        "cellpose model": Kind([pickled.getvalue()], _in_file(load_cellpose_file)),
        "ZIP": Kind([_archive(images)], _in_file(_every_entry)),
        "back-up": Kind([_archive({"ledger.jsonl": line}, FORMAT)], _in_file(entries_in)),
    }


def _labels(data: bytes) -> object:
    return label_image(data, "a.tif" if data[:2] in (b"II", b"MM") else "a.png")


def outcome(kind: Kind, data: bytes) -> str:
    """`read` or `refused`; anything else is a fault in words."""
    began = time.perf_counter()
    try:
        kind.read(data)
        told = "read"
    except UserError as error:
        told = "refused" if len(str(error)) < 2000 else f"refused at length: {str(error)[:100]}"
    except Exception as error:  # reported by whoever watches
        told = f"raised {error!r}"
    seconds = time.perf_counter() - began
    return told if seconds < SECONDS else f"took {seconds:.0f} s, then {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    bad = 0
    for name, kind in kinds().items():
        rng = random.Random(options.seed)
        told: Counter[str] = Counter()
        for k in range(options.count):
            data = kind.mutated(rng)
            words = outcome(kind, data)
            told[words.split()[0]] += 1
            if words not in ("read", "refused"):
                bad += 1
                print(f"{name} {k} of seed {options.seed}: {words}; {data[:200]!r}")
        print(f"{name}: {dict(told)}")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
