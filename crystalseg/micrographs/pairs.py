"""Images with labels beside them, as files: `<id>.png` and `<id>_label.png`."""

import io
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.micrograph import Micrograph, MicrographError


def read_labels(path: str | Path) -> np.ndarray:
    """A label image (PNG or TIFF, 8 to 32 bit, 0 = background) as int32 (H, W); MicrographError if it is none."""
    path = Path(path)
    return decode_labels(path.read_bytes(), path.name)


def decode_labels(data: bytes, name: str) -> np.ndarray:
    """As `read_labels`, from the bytes of a file called `name`."""
    try:
        if name.lower().endswith((".tif", ".tiff")):
            labels: np.ndarray | None = tifffile.imread(io.BytesIO(data))
        else:
            labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except Exception as error:  # tifffile raises what it likes
        raise MicrographError(f"{name}: cannot be read as a label image.") from error
    if labels is None or labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise MicrographError(f"{name}: a label image must have one channel of whole numbers.")
    return labels.astype(np.int32)


def read_pairs(folder: str | Path) -> list[tuple[Micrograph, np.ndarray]]:
    """Each `<id>.png` of a folder with the labels int32 (H, W) of the `<id>_label.png` beside it; names are the ids.

    Raises MicrographError when there is none, or an image and its labels differ in size.
    """
    pairs = []
    for path in sorted(Path(folder).glob("*_label.png")):
        name = path.name.removesuffix("_label.png")
        micrograph = read_micrograph(path.with_name(f"{name}.png"), name)
        labels = read_labels(path)
        if labels.shape != micrograph.shape:
            raise MicrographError(f"{name}: the image and its labels differ in size.")
        pairs.append((micrograph, labels))
    if not pairs:
        raise MicrographError(f"{folder}: no <id>.png with an <id>_label.png beside it.")
    return pairs


def write_pair(folder: Path, name: str, image: np.ndarray, labels: np.ndarray) -> None:
    """`<name>.png` (RGB) and `<name>_label.png` (16 bit): the layout that `read_pairs` reads."""
    Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(labels.astype(np.uint16)).save(folder / f"{name}_label.png")
