"""OME-Zarr images (NGFF 0.4 and 0.5): a folder of chunks at several resolutions, of which the finest is read."""

import hashlib
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.errors import BaseZarrError
from zarr.storage import LocalStore, ZipStore

from crystalseg.micrographs.calibration import Calibration, from_zarr, stated
from crystalseg.micrographs.intensities import to_rgb
from crystalseg.micrographs.micrograph import MicrographError

# Takes name, height, width and bytes of a stored pixel. Raises MicrographError if that is too large.
CheckSize = Callable[[str, int, int, int], None]
# Takes the number of channels, name and notes. Returns the channel to read and adds a note; raises MicrographError if
# the channel does not exist.
Choose = Callable[[int, str, list[str]], int]


def is_zarr(path: Path) -> bool:
    """Whether a path leads to a Zarr folder, or to one packed as a ZIP file."""
    if path.is_dir():
        return any((path / name).is_file() for name in _MARKS)
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name in _MARKS for name in archive.namelist())
    except Exception:  # zipfile raises every kind of error for a damaged directory
        return False


_MARKS = (".zgroup", "zarr.json", ".zattrs")


def read_zarr(
    path: Path, name: str, check_size: CheckSize, choose: Choose
) -> tuple[np.ndarray, Calibration | None, list[str], int]:
    """Read the first plane of an image: pixels uint8 (H, W, 3), pixel size, notes, and the number of channels to choose
    from. Three channels are taken as colours. Raises MicrographError, which says what is wrong."""
    image, levels = _opened(path, name)
    array = levels[0]
    if len({level.dtype for level in levels}) > 1:
        kinds = " and ".join(sorted({str(level.dtype) for level in levels}))
        raise MicrographError(f"{name}: its resolutions have different data types ({kinds}); export it again.")
    if array.ndim < 2:
        raise MicrographError(f"{name}: it has only one dimension; an image has two.")
    names = [axis["name"] if isinstance(axis, Mapping) else str(axis) for axis in image.get("axes", ())]
    names = names or ["t", "c", "z", "y", "x"][-array.ndim :]
    channels = array.shape[names.index("c")] if "c" in names else 1
    height, width = array.shape[-2:]
    check_size(name, height, width, min(channels, 3) * array.dtype.itemsize)
    missing = array.nchunks - array.nchunks_initialized
    if missing:
        raise MicrographError(
            f"{name}: {missing} of its {array.nchunks} chunks are missing; export it again, complete."
        )
    notes = _left_out(array, names)
    choice = 1 if channels == 3 else channels
    channel = choose(choice, name, notes)
    pixels = to_rgb(height, width, _Rows(array, names, channels, channel))
    if array.dtype not in (np.uint8, bool):
        notes.append(f"{array.dtype} intensities were scaled to 8 bit.")
    return pixels, stated(lambda: from_zarr(image, names, notes), notes), notes, choice


def zarr_sides(path: Path) -> tuple[int, int]:
    """Return height and width, px, before pixels are read. Raises MicrographError if it is not an OME-Zarr image."""
    _, levels = _opened(path, path.name)
    return levels[0].shape[-2:]


def _opened(path: Path, name: str) -> tuple[Any, list[Any]]:
    """Return what the folder or ZIP file says about its image, and the arrays of its resolutions, the finest first."""
    store = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")
    try:
        group = zarr.open_group(store, mode="r")
        attributes: Any = group.attrs.asdict()
        image = attributes.get("ome", attributes)["multiscales"][0]
        return image, [group[level["path"]] for level in image["datasets"]]
    except (BaseZarrError, KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise MicrographError(f"{name}: not an OME-Zarr image; export it as OME-Zarr, or as TIFF.") from error


def _left_out(array: Any, names: list[str]) -> list[str]:
    planes = math.prod(n for n, axis in zip(array.shape, names, strict=True) if axis not in ("c", "y", "x"))
    return [f"The image has {planes} planes; the first was used."] if planes > 1 else []


class _Rows:
    """The values of the first plane, (h, w, channels), by rows and columns. Each row of chunks is decoded once."""

    def __init__(self, array: Any, names: list[str], channels: int, channel: int):
        self._array, self._names = array, names
        self._channels = slice(0, 3) if channels == 3 else slice(channel - 1, channel)
        self._high = max(1, array.chunks[-2])
        self._held: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __call__(self, rows: slice, columns: slice) -> np.ndarray:
        numbers = np.arange(self._array.shape[-2])[rows]
        if rows.step is not None:  # a sample of the whole image
            return np.concatenate([self._part(slice(y, y + 1))[:, columns] for y in numbers.tolist()])
        parts = []
        for chunk in range(int(numbers[0]) // self._high, int(numbers[-1]) // self._high + 1):
            if self._held[0] != chunk:
                self._held = chunk, self._part(slice(chunk * self._high, (chunk + 1) * self._high))
            first = chunk * self._high
            parts.append(self._held[1][max(0, rows.start - first) : rows.stop - first, columns])
        return np.concatenate(parts)

    def _part(self, rows: slice) -> np.ndarray:
        where: list[Any] = [rows if axis == "y" else slice(None) if axis == "x" else 0 for axis in self._names]
        if "c" in self._names:
            where[self._names.index("c")] = self._channels
        values = np.asarray(self._array[tuple(where)])
        return values[..., None] if values.ndim == 2 else np.moveaxis(values, 0, -1)


def zarr_hash(path: Path) -> str:
    """Return the SHA-256 of a ZIP file, or of a folder's files with their names, in order."""
    whole = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    for part in sorted(p for p in path.rglob("*") if p.is_file()):
        whole.update(part.relative_to(path).as_posix().encode())
        with part.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
