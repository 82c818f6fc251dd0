"""Images with labels beside them, as files: `<id>.png` and `<id>_label.png`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.label_images import LabelImage, label_image
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import natural

KINDS = (".tif", ".tiff", ".png")  # endings of images and label images


def read_labels(path: str | Path, negative: bool = False) -> np.ndarray:
    """Read the labels of a label image, int32 (H, W), 1..n, as `label_images.label_image` does. Raises MicrographError
    if the file is not a label image."""
    return _read(Path(path), negative).labels


def _read(path: Path, negative: bool) -> LabelImage:
    try:
        return label_image(path.read_bytes(), path.name, negative)
    except OSError as error:
        raise MicrographError(f"{path.name}: cannot be opened ({error.strerror}).") from error


def label_files(folder: str | Path) -> list[Path]:
    """Return the label images in a folder, `<id>_label.png` or `.tif`, in natural order."""
    found = (path for path in Path(folder).glob("*_label.*") if path.suffix.lower() in KINDS)
    return sorted(found, key=lambda path: natural(path.name))


def read_pairs(folder: str | Path, negative: bool = False) -> list[tuple[Micrograph, np.ndarray]]:
    """Read each `<id>.png` of a folder and its `<id>_label.png`, int32 (H, W). TIFF files work too. The micrographs are
    named by the ids. With `negative`, numbers below 0 are background.

    Raises MicrographError if there is no image, or if an image and its labels differ in size.
    """
    pairs = []
    for path in label_files(folder):
        name = path.stem.removesuffix("_label")
        images = [path.with_name(f"{name}{ending}") for ending in (path.suffix, *KINDS)]
        micrograph = read_micrograph(next((image for image in images if image.is_file()), images[-1]), name)
        read = _read(path, negative)
        if read.labels.shape != micrograph.shape:
            raise MicrographError(f"{name}: the image and its labels differ in size; export them in one size.")
        pairs.append((replace(micrograph, notes=(*micrograph.notes, *read.notes)), read.labels))
    if not pairs:
        raise MicrographError(f"{folder}: there is no <id>.png with an <id>_label.png beside it.")
    return pairs


def write_pair(folder: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    """Write `<name>.png` (RGB) and `<name>_label.png` (16 bit), which `read_pairs` reads."""
    Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(labels.astype(np.uint16)).save(folder / f"{name}_label.png")
