"""Images with labels beside them, as files: `<id>.png` and `<id>_label.png`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.label_images import LabelImage, label_image
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import natural


def read_labels(path: str | Path, negative: bool = False) -> np.ndarray:
    """Read the labels of a label image, int32 (H, W), 1..n, as `label_images.label_image` does. Raises MicrographError
    if the file is not a label image."""
    return _read(Path(path), negative).labels


def _read(path: Path, negative: bool) -> LabelImage:
    try:
        return label_image(path.read_bytes(), path.name, negative)
    except OSError as error:
        raise MicrographError(f"{path.name}: cannot be opened ({error.strerror}).") from error


def read_pairs(folder: str | Path, negative: bool = False) -> list[tuple[Micrograph, np.ndarray]]:
    """Read each `<id>.png` of a folder and its `<id>_label.png`, int32 (H, W). The micrographs are named by the ids.
    With `negative`, numbers below 0 are background.

    Raises MicrographError if there is no image, or if an image and its labels differ in size.
    """
    pairs = []
    for path in sorted(Path(folder).glob("*_label.png"), key=natural):
        name = path.name.removesuffix("_label.png")
        micrograph = read_micrograph(path.with_name(f"{name}.png"), name)
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
