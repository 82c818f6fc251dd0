"""Labelled images and checked areas on record, by material: the data that models are taught with, and who checked
it."""

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
    """An annotation on record.

    key: The subject of its entry.
    name: The name of the image.
    crystals: The number of checked crystals.
    share: The checked share of the image, 0..1.
    source: Where the annotation comes from, in words.
    image, labels: The hashes of its files in the store.
    um_per_px: The pixel size, or None.
    who, created: Who recorded it, and when.
    """

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
        """The hashes of the image and the labels, which identify the annotation's content."""
        return self.image, self.labels


def keep(engine: Engine, one: Annotation, material: str, source: str, who: str = "") -> RecordedAnnotation:
    """Put an annotation on record for a material. It replaces the annotation of the same image and material."""
    return _recorded(engine, one, _put(one), material, source, who)


def _recorded(
    engine: Engine, one: Annotation, files: tuple[str, str], material: str, source: str, who: str
) -> RecordedAnnotation:
    """Do what `keep` does, for an annotation whose `files` are already in the store."""
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
        "image_sha256": micrograph.sha256,  # the hash of the uploaded file; `image` is a copy of it
        "files": {"image": image, "labels": labels},
    }
    return _kept(ledger.append(engine, "annotation", _key(material, micrograph.pixels), body, who))


def from_folder(
    engine: Engine, folder: Path, material: str, who: str = "", negative: bool = False
) -> list[RecordedAnnotation]:
    """Put the labelled images of a folder (`read_annotations`) on record for a material. Images that are already on
    record are not recorded again."""
    there = {one.files: one for one in annotations(engine, material)}
    kept = []
    for one in read_annotations(folder, negative):
        files = _put(one)
        kept.append(there.get(files) or _recorded(engine, one, files, material, f"folder {folder}", who))
    return kept


def _put(one: Annotation) -> tuple[str, str]:
    """Put the image and its labels in the store, and return their hashes."""
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
    """Take an annotation out of use. It stays in the record."""
    ledger.append(engine, "annotation", key, {"removed": True}, who)


def annotations(engine: Engine, material: str | None = None) -> list[RecordedAnnotation]:
    """Return the annotations in use, oldest first, for one material or for all."""
    latest = {entry.subject: entry for entry in ledger.entries(engine, "annotation")}
    kept = [_kept(entry) for entry in latest.values() if not entry.body.get("removed")]
    return [one for one in sorted(kept, key=lambda one: one.created) if material in (None, one.material)]


def read(name: str, files: tuple[str, str], um_per_px: float | None = None) -> Annotation:
    """Read an annotation from the store by the hashes of its image and labels. `name` names the image. Raises
    StoreError if a file is missing."""
    image, labels = files
    pixels = np.asarray(Image.open(io.BytesIO(store.get(image))).convert("RGB"))
    calibration = from_um_per_px(um_per_px, None) if um_per_px else None
    return unpacked(Micrograph(pixels, name, image, calibration), store.get(labels))
