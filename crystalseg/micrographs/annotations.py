"""Micrographs that a person has labelled, wholly or in part. Networks learn from them and are scored on them."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.label_images import LabelImage, label_image
from crystalseg.micrographs.labels import areas, bounding_box, keep_labels
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import natural

_KINDS = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class Annotation:
    """A labelled micrograph. labels: int32 (H, W), 1..n. checked: bool (H, W), where a person says that the labels are
    right; nothing outside is learnt from or scored. `annotation` makes one."""

    micrograph: Micrograph
    labels: np.ndarray
    checked: np.ndarray

    @property
    def crystals(self) -> int:
        """The number of crystals that were checked."""
        return int(inside(self.labels, self.checked).max(initial=0))

    @property
    def share(self) -> float:
        """The share of the image that was checked, 0..1."""
        return float(self.checked.mean())


def cut_out(one: Annotation, margin: int) -> Annotation:
    """Return the checked part of an annotation with a margin of `margin` px around it."""
    return _part(one, bounding_box(one.checked, margin))


def middle(one: Annotation, side: int) -> Annotation:
    """Return the middle of the checked part, at most `side` × `side` px."""
    checked = cut_out(one, 0)
    starts = [max(0, (length - side) // 2) for length in checked.labels.shape]
    return _part(checked, (slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side)))


def _part(one: Annotation, part: tuple[slice, slice]) -> Annotation:
    micrograph = replace(one.micrograph, pixels=np.ascontiguousarray(one.micrograph.pixels[part]))
    return Annotation(micrograph, np.ascontiguousarray(one.labels[part]), np.ascontiguousarray(one.checked[part]))


def annotation(micrograph: Micrograph, labels: np.ndarray, checked: np.ndarray | None = None) -> Annotation:
    """Make an Annotation from labels, integer (H, W). It is checked everywhere unless `checked`, bool (H, W), is given.
    Raises MicrographError, which says why nothing can be learnt from it."""
    name = micrograph.name
    checked = np.ones(labels.shape, bool) if checked is None else checked
    if labels.shape != micrograph.shape or checked.shape != micrograph.shape:
        size, other = ("×".join(map(str, s[::-1])) for s in (micrograph.shape, labels.shape))
        raise MicrographError(
            f"{name}: the image has {size} px, but its labels have {other}; export the labels at the size of the image."
        )
    if not checked.any():
        raise MicrographError(f"{name}: no area is marked as checked; mark one, or give no marks to use all of it.")
    found = inside(labels, checked)
    if not labels.any():
        raise MicrographError(f"{name}: the label image is empty; give each crystal a number, and the rest 0.")
    if not found.any():
        raise MicrographError(f"{name}: no crystal lies in the checked area; mark an area with crystals.")
    if found.max() == 1 and np.count_nonzero(found) > 0.95 * np.count_nonzero(checked):
        raise MicrographError(f"{name}: one label covers everything; give each crystal a number of its own.")
    return Annotation(micrograph, keep_labels(labels, areas(labels)[1:] > 0), checked)


def inside(labels: np.ndarray, checked: np.ndarray) -> np.ndarray:
    """Return the labels (H, W) that lie at least half inside `checked`, bool (H, W), renumbered 1..n: int32 (H, W)."""
    whole = areas(labels)
    part = np.bincount(labels[checked], minlength=len(whole))
    keep = (part[1:] > 0) & (2 * part[1:] >= whole[1:])
    return keep_labels(labels, keep)


def read_annotations(folder: str | Path, negative: bool = False) -> list[Annotation]:
    """Read the annotations in the files of a folder. With `negative`, label numbers below 0 are background; see
    `annotations_in`."""
    there = [path for path in sorted(Path(folder).glob("*"), key=natural) if path.suffix.lower() in _KINDS]
    return annotations_in(
        {path.name: path.read_bytes() for path in there},
        str(folder),
        read_label=partial(label_image, negative=negative),
    )


def annotations_in(
    files: Mapping[str, bytes],
    of: str = "The files",
    read: Callable[[bytes, str], Micrograph] = read_micrograph,
    read_label: Callable[[bytes, str], LabelImage] = label_image,
) -> list[Annotation]:
    """Read each `<id>.png` of the files, sorted by name, with its `<id>_label.png`. TIFF files work too. An annotation
    is checked where `<id>_checked.png` is not 0, or everywhere if there is no such file. The micrograph's notes include
    those on how its label image was read. `read` and `read_label` decode the files; pass others to decode in another
    process. Raises MicrographError for a file that nothing can be learnt from, for an image that occurs twice, and if
    there is no image."""
    by_id: dict[str, dict[str, str]] = {}
    for name in files:
        stem = Path(name).stem
        role = next((role for role in ("label", "checked") if stem.endswith(f"_{role}")), "image")
        by_id.setdefault(stem.removesuffix(f"_{role}"), {})[role] = name
    found = []
    for own, named in sorted(by_id.items(), key=lambda item: natural(item[0])):
        if "label" not in named:
            continue
        if "image" not in named:
            raise MicrographError(f"{named['label']}: its image {own}.png is missing.")
        micrograph = read(files[named["image"]], own)
        labels = read_label(files[named["label"]], named["label"])
        micrograph = replace(micrograph, notes=(*micrograph.notes, *labels.notes))
        checked = read_label(files[named["checked"]], named["checked"]).labels > 0 if "checked" in named else None
        found.append(annotation(micrograph, labels.labels, checked))
    if not found:
        raise MicrographError(f"{of}: there is no <id>.png with an <id>_label.png beside it.")
    return distinct(found)


def distinct(annotations: Sequence[Annotation]) -> list[Annotation]:
    """Return the same annotations. Raises MicrographError if an image occurs twice, so that no image is both learnt
    from and scored."""
    seen: dict[str, str] = {}
    for one in annotations:
        pixels = hashlib.sha256(one.micrograph.pixels.tobytes()).hexdigest()
        if pixels in seen:
            raise MicrographError(
                f"{one.micrograph.name}: the same image as {seen[pixels]}; remove one of the two, and mark several "
                "checked areas in one image instead."
            )
        seen[pixels] = one.micrograph.name
    return list(annotations)


def packed(one: Annotation) -> bytes:
    """Pack labels and checked area into one compressed file, which `unpacked` reads."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, labels=one.labels, checked=np.packbits(one.checked))
    return buffer.getvalue()


def unpacked(micrograph: Micrograph, data: bytes) -> Annotation:
    """Read the Annotation of a micrograph that `packed` wrote."""
    with np.load(io.BytesIO(data)) as arrays:
        labels = arrays["labels"]
        checked = np.unpackbits(arrays["checked"], count=labels.size).reshape(labels.shape).astype(bool)
    return Annotation(micrograph, labels, checked)
