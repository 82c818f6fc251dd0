"""Where a batch's images come from: a folder, its folders, OME-Zarr images and ZIP files in them; or one ZIP file.

Nothing is unpacked: an entry of a ZIP file is read when its turn comes, within a limit, so that names in it reach no
file of this machine, and one that cannot be read is that image's failure alone.
"""

import re
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from crystalseg.execution.work_state import WorkError
from crystalseg.micrographs.decoding import FORMATS, MAX_FILE, file_beside, is_mosaic
from crystalseg.micrographs.headers import sidecar_names
from crystalseg.micrographs.names import file_stem, natural, visible
from crystalseg.micrographs.ome_zarr import is_zarr

NAMED = 5  # files that a note names
_RESULT = re.compile(
    r"(.+?)[_-](labels?|masks?|cp_masks|cp_outlines|outlines|checked|segmentation|overlay|image(?=\.ome))(\.ome)?",
    re.IGNORECASE,
)


class NoRoomError(WorkError):
    """A disk without the room that the work needs."""


class Source:
    """names: of all images, in their natural order; those of a ZIP file in a folder begin with its own. Two entries may
    share one. What programs write beside an image, such as its labels, is no image of its own and left out: notes say
    so. WorkError if there is no image."""

    def __init__(self, path: Path):
        self._folder = path
        self._read: dict[str, list[Callable[[], bytes | Path]]] = {}
        if path.is_dir():
            zarrs: set[Path] = set()
            for file in sorted(path.rglob("*"), key=natural):
                name = file.relative_to(path).as_posix()
                if not zarrs.isdisjoint(file.parents):
                    continue
                if is_zarr(file):
                    zarrs.add(file)
                    self._read.setdefault(name, []).append(partial(Path, file))
                elif not file.is_file():
                    continue
                elif file.suffix.lower() == ".zip":
                    self._add_archive(file, f"{name}/")
                else:
                    self._add(name, partial(_file, file))
        elif zipfile.is_zipfile(path):
            self._add_archive(path, "")
        else:
            raise WorkError(f"{path} is neither a folder nor a ZIP file.")
        left_out = results_among(self._read)
        self.notes: tuple[str, ...] = ()
        if left_out:
            some = ", ".join(map(visible, left_out[:NAMED])) + (", …" if len(left_out) > NAMED else "")
            self.notes = (
                f"Left out, as results of an image of that name beside them: {len(left_out)} files ({some}).",
            )
        names = (name for name, found in self._read.items() for _ in found)
        self.names = tuple(sorted((name for name in names if name not in left_out), key=natural))
        if not self.names:
            raise WorkError(f"{path} holds no image ({', '.join(FORMATS)}).")

    def _add(self, name: str, read: Callable[[], bytes | Path]) -> None:
        base = name.rpartition("/")[2]
        if base.lower().rpartition(".")[2] in FORMATS and not base.startswith("."):
            self._read.setdefault(name, []).append(read)

    def _add_archive(self, path: Path, before: str) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises what it likes for a damaged directory
            why = f"is no ZIP file, or a damaged one ({error})"
            self._read.setdefault(before.removesuffix("/") or path.name, []).append(partial(_refuse, why))
            return
        for entry in archive.infolist():
            # an entry without a name is none; zipfile's is_dir would stumble over it
            if entry.filename and not entry.is_dir() and not entry.filename.startswith("__MACOSX/"):
                self._add(before + entry.filename, partial(_entry, archive, entry))

    def beside(self, name: str) -> dict[str, bytes]:
        """The text files in an image's folder that may state its pixel size, by name."""
        if not self._folder.is_dir():
            return {}
        path = self._folder / name
        found = {other: file_beside(path, other) for other in sidecar_names(path.name)}
        return {other: data for other, data in found.items() if data is not None}

    def read(self, name: str, which: int = 0) -> bytes | Path:
        """The bytes of an image, `which` of those with this name, or its place if it is a mosaic or an OME-Zarr folder,
        which those who compute must reach too; WorkError says why it cannot be read."""
        found = self._read.get(name, [])
        if which >= len(found):
            raise WorkError("it is not there any more")
        return found[which]()


def results_among(names: Iterable[str]) -> list[str]:
    """Those of the names, with their folders, that are a result of an image beside them: `x_labels.tif` of `x.png`. Of
    ours, and of Cellpose, ImageJ's plugins and label editors."""
    stems: dict[str, set[str]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        stems.setdefault(folder, set()).add(file_stem(base).casefold())
    found = []
    for name in names:
        folder, _, base = name.rpartition("/")
        result = _RESULT.fullmatch(file_stem(base))
        if result:
            own = result[1].casefold()
            # files of images that are called alike have a number: x_2_labels.tif
            if {own, re.sub(r"_[0-9]+$", "", own)} & stems[folder]:
                found.append(name)
    return sorted(found, key=natural)


def _refuse(why: str) -> bytes:
    raise WorkError(why)


def _check_size(size: int) -> None:
    if size > MAX_FILE:
        raise WorkError(f"too large: {size / 2**20:.0f} MiB, the limit is {MAX_FILE / 2**20:.0f}")


def _file(path: Path) -> bytes | Path:
    try:
        if is_mosaic(path):
            return path
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise WorkError(f"cannot be read ({error.strerror})") from error


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    _check_size(entry.file_size)  # zipfile reads no more than this
    if entry.flag_bits & 0x1:
        raise WorkError("it is encrypted; pack it without a password")
    try:
        return archive.read(entry)
    except WorkError:
        raise
    except Exception as error:  # damaged data, compressions zipfile does not know, and more
        raise WorkError(f"cannot be unpacked ({error})") from error
