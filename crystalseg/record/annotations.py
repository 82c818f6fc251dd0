"""Labelled images and checked areas by material, on record: what models are taught with, and by whom it was checked."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy import Engine

from crystalseg.micrographs.annotations import Annotation, packed, read_annotations, unpacked
from crystalseg.micrographs.calibration import from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.record import ledger, store


@dataclass(frozen=True)
class RecordedAnnotation:
    """An annotation on record. key: by which it is found; name: of the image; material; crystals: how many were
    checked; share: of the image that was, 0..1; source: where it comes from, in words; image, labels: hashes of its
    files; um_per_px: or None; who, created: by whom, when."""

    key: str
    name: str
    material: str
    crystals: int
    share: float
    source: str
    image: str
    labels: str
    um_per_px: float | None
    who: str
    created: str

    @property
    def files(self) -> tuple[str, str]:
        """What it is: hashes of image and labels."""
        return self.image, self.labels


def keep(engine: Engine, one: Annotation, material: str, source: str, who: str = "") -> RecordedAnnotation:
    """Put an annotation on record for a material, in place of the one it had of the same image."""
    return _recorded(engine, one, _put(one), material, source, who)


def _recorded(
    engine: Engine, one: Annotation, files: tuple[str, str], material: str, source: str, who: str
) -> RecordedAnnotation:
    """As `keep`, of an annotation whose `files` are in the store."""
    material = material.strip()
    if not 0 < len(material) <= 60:
        raise MicrographError("A material needs a name of 1 to 60 characters.")
    micrograph = one.micrograph
    image, labels = files
    body = {
        "name": micrograph.name,
        "material": material,
        "crystals": one.crystals,
        "share": one.share,
        "source": source,
        "um_per_px": micrograph.um_per_px,
        "image_sha256": micrograph.sha256,  # of the file as uploaded, of which `image` is a copy
        "files": {"image": image, "labels": labels},
    }
    return _kept(ledger.append(engine, "annotation", _key(material, micrograph.pixels), body, who))


def from_folder(engine: Engine, folder: Path, material: str, who: str = "") -> list[RecordedAnnotation]:
    """Put the labelled images of a folder (`read_annotations`) on record for a material, those that are not yet."""
    there = {one.files: one for one in annotations(engine, material)}
    kept = []
    for one in read_annotations(folder):
        files = _put(one)
        kept.append(there.get(files) or _recorded(engine, one, files, material, f"folder {folder}", who))
    return kept


def _put(one: Annotation) -> tuple[str, str]:
    """Image and labels in the store; their hashes."""
    png = io.BytesIO()
    Image.fromarray(one.micrograph.pixels).save(png, "PNG", compress_level=1)
    return store.put(png.getvalue()), store.put(packed(one))


def _key(material: str, pixels: np.ndarray) -> str:
    return store.digest(material, pixels.shape, hashlib.sha256(pixels.tobytes()).hexdigest())


def _kept(entry: ledger.Entry) -> RecordedAnnotation:
    body, files = entry.body, ledger.files_in(entry.body)
    plain = {key: body[key] for key in ("name", "material", "crystals", "share", "source", "um_per_px")}
    return RecordedAnnotation(
        **plain, key=entry.subject, image=files["image"], labels=files["labels"], who=entry.who, created=entry.created
    )


def remove(engine: Engine, key: str, who: str = "") -> None:
    """No longer teach with an annotation; it stays in the record."""
    ledger.append(engine, "annotation", key, {"removed": True}, who)


def annotations(engine: Engine, material: str | None = None) -> list[RecordedAnnotation]:
    """Those in use, oldest first, of one material or of all."""
    latest = {entry.subject: entry for entry in ledger.entries(engine, "annotation")}
    kept = [_kept(entry) for entry in latest.values() if not entry.body.get("removed")]
    return [one for one in sorted(kept, key=lambda one: one.created) if material in (None, one.material)]


def read(name: str, files: tuple[str, str], um_per_px: float | None = None) -> Annotation:
    """The annotation of an image called `name`, by the hashes of image and labels; StoreError if they are not there."""
    image, labels = files
    pixels = np.asarray(Image.open(io.BytesIO(store.get(image))).convert("RGB"))
    calibration = from_um_per_px(um_per_px, None) if um_per_px else None
    return unpacked(Micrograph(pixels, name, image, calibration), store.get(labels))
