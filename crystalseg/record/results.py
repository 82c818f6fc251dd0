"""Micrographs and segmentations as files: arrays and facts in one .npz."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.store import written_safely
from crystalseg.segmentation.fusion import Prediction, ScalePrediction, no_maps
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings, read_json


def _save(path: Path, arrays: dict[str, np.ndarray], facts: dict) -> None:
    """Write arrays and JSON-ready facts to one .npz, atomically."""
    with written_safely(path) as file:
        np.savez(file, allow_pickle=False, _facts=np.array(json.dumps(facts)), **arrays)


def _load(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return arrays, json.loads(str(arrays.pop("_facts")))


def save_micrograph(path: Path, micrograph: Micrograph) -> None:
    """Write the pixels and everything else that a Micrograph holds."""
    facts = {
        "name": micrograph.name,
        "sha256": micrograph.sha256,
        "calibration": asdict(micrograph.calibration) if micrograph.calibration else None,
        "notes": micrograph.notes,
        "region": micrograph.region,
        "channels": (micrograph.channel, micrograph.channels),
    }
    _save(path, {"pixels": micrograph.pixels}, facts)


def image_of(path: Path) -> str:
    """Return the hash of the uploaded image that `save_micrograph` wrote to `path`, without reading the pixels."""
    with np.load(path, allow_pickle=False) as file:
        return json.loads(str(file["_facts"]))["sha256"]


def load_micrograph(path: Path) -> Micrograph:
    arrays, facts = _load(path)
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    region = tuple(facts["region"]) if facts["region"] else None
    channels = facts.get("channels", (1, 1))  # missing in files of earlier releases
    notes = tuple(facts["notes"])
    return Micrograph(arrays["pixels"], facts["name"], facts["sha256"], calibration, notes, region, *channels)


_OPTIONAL = ("attention", "origin", "features")
_MAPS = ("flow", "foreground", "outline")  # of a scale; some networks give no outlines


def as_kept(segmentation: Segmentation) -> Segmentation:
    """Return a segmentation as `load_segmentation` gives it back. The maps of single scales, which are only displayed,
    are rounded to half precision."""
    scales = tuple(
        ScalePrediction(s.factor, covered=s.covered, **{m: _halved(v).astype(np.float32) for m, v in _maps(s).items()})
        for s in segmentation.scales
    )
    return replace(segmentation, scales=scales)


def _halved(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16)


def _maps(scale: ScalePrediction) -> dict[str, np.ndarray]:
    return {m: values for m in _MAPS if (values := getattr(scale, m)) is not None}


def save_segmentation(path: Path, segmentation: Segmentation) -> None:
    """Write all maps; `as_kept` says at which precision."""
    arrays = {"labels": segmentation.labels, "confidence": segmentation.confidence}
    if not segmentation.ladder:  # a ladder has no fused maps
        arrays |= {"flow": segmentation.fused.flow, "foreground": segmentation.fused.foreground}
    arrays |= {name: value for name in _OPTIONAL if (value := getattr(segmentation, name)) is not None}
    for i, scale in enumerate(segmentation.scales):
        arrays |= {f"{m}_{i}": _halved(v) for m, v in _maps(scale).items()}
        arrays[f"covered_{i}"] = scale.covered
    facts = {
        "factors": [scale.factor for scale in segmentation.scales],
        "settings": segmentation.settings.to_json(),
        "timings": segmentation.timings,
        "hashes": segmentation.hashes,
        "versions": segmentation.versions,
        "device": segmentation.device,
        "ladder": segmentation.ladder,
    }
    _save(path, arrays, facts)


def load_segmentation(path: Path) -> Segmentation:
    arrays, facts = _load(path)
    scales = tuple(
        ScalePrediction(
            factor,
            covered=arrays[f"covered_{i}"],
            **{m: arrays[key].astype(np.float32) for m in _MAPS if (key := f"{m}_{i}") in arrays},
        )
        for i, factor in enumerate(facts["factors"])
    )
    return Segmentation(
        arrays["labels"],
        arrays["confidence"],
        Prediction(arrays["flow"], arrays["foreground"]) if "flow" in arrays else no_maps(arrays["labels"].shape),
        scales,
        settings=Settings.on_record(read_json(facts["settings"], "The settings are")),
        timings=facts["timings"],
        hashes=facts["hashes"],
        versions=facts["versions"],
        # The following are missing in files of earlier releases.
        device=facts.get("device", ""),
        ladder=tuple(facts.get("ladder", ())),
        attention=arrays.get("attention"),
        origin=arrays.get("origin"),
        features=arrays.get("features"),
    )
