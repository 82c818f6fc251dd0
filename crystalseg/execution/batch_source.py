"""The source of a batch's images: a folder with its subfolders, OME-Zarr images and ZIP files, or one ZIP file.

Nothing is unpacked to disk. An entry of a ZIP file is read when its turn comes, up to a size limit. Names in an archive
therefore reach no file of this machine, and an unreadable entry fails only that image.
"""

import re
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

from crystalseg.execution.work_state import WorkError
from crystalseg.micrographs.decoding import FORMATS, MAX_FILE, file_beside, is_mosaic
from crystalseg.micrographs.foreign import by_ending
from crystalseg.micrographs.headers import LONGEST, SIDECARS, sidecar_names
from crystalseg.micrographs.names import file_stem, natural, visible
from crystalseg.micrographs.ome_zarr import is_zarr

NAMED = 5  # number of files that a note names
_RESULT = re.compile(
    r"(.+?)[_-](labels?|masks?|cp_masks|cp_outlines|outlines|checked|segmentation|overlay|image(?=\.ome))(\.ome)?",
    re.IGNORECASE,
)


class NoRoomError(WorkError):
    """The disk does not have the room that the work needs."""


class Source:
    """The images of a source.

    `names` lists all images in natural order. A name from a ZIP file in a folder begins with the name of the ZIP file.
    Two entries may share a name. Files that programs write beside an image, such as its labels, are left out; `notes`
    says so. Raises WorkError if there is no image.
    """

    def __init__(self, path: Path):
        self._folder = path
        self._read: dict[str, list[Callable[[], bytes | Path]]] = {}
        self._foreign: list[str] = []  # image files of formats that are not read
        self._texts: dict[str, Callable[[], bytes]] = {}  # text files in archives, by name
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
            self.notes = (f"Left out as results of images beside them: {_listed(left_out)}.",)
        if self._foreign:
            unread = sorted(self._foreign, key=natural)
            self.notes += (f"Left out because they cannot be read: {_listed(unread)}. Export them as TIFF.",)
        names = (name for name, found in self._read.items() for _ in found)
        self.names = tuple(sorted((name for name in names if name not in left_out), key=natural))
        if not self.names:
            hint = f" Files that cannot be read: {_listed(self._foreign)}. Export them." if self._foreign else ""
            raise WorkError(f"{path} holds no image ({', '.join(FORMATS)}).{hint}")

    def _add(self, name: str, read: Callable[[], bytes | Path]) -> None:
        base = name.rpartition("/")[2]
        if base.lower().rpartition(".")[2] in FORMATS and not base.startswith("."):
            self._read.setdefault(name, []).append(read)
        elif by_ending(base) is not None and not base.startswith("."):
            self._foreign.append(name)

    def _add_archive(self, path: Path, before: str) -> None:
        try:
            archive = zipfile.ZipFile(path)
        except Exception as error:  # zipfile raises many kinds of errors for a damaged directory
            why = f"is not a ZIP file, or is damaged ({error})"
            self._read.setdefault(before.removesuffix("/") or path.name, []).append(partial(_refuse, why))
            return
        for entry in archive.infolist():
            # Skip entries without a name, for which zipfile's is_dir fails.
            if entry.filename and not entry.is_dir() and not entry.filename.startswith("__MACOSX/"):
                self._add(before + entry.filename, partial(_entry, archive, entry))
                if entry.filename.lower().endswith(SIDECARS) and entry.file_size <= LONGEST:
                    self._texts.setdefault(before + entry.filename, partial(_entry, archive, entry))

    def beside(self, name: str) -> dict[str, bytes]:
        """Return the text files in the image's folder that may state its pixel size, by name."""
        folder, slash, base = name.rpartition("/")
        found = {}
        for other in sidecar_names(base):
            data = file_beside(self._folder / name, other) if self._folder.is_dir() else None
            for packed in (f"{folder}{slash}{other}", f"{folder}{slash}MetaData/{other}"):
                if data is None and packed in self._texts:
                    with suppress(WorkError):  # the image is still measured
                        data = self._texts[packed]()
            if data is not None:
                found[other] = data
        return found

    def read(self, name: str, which: int = 0) -> bytes | Path:
        """Return the bytes of an image, number `which` of those with this name. A mosaic or an OME-Zarr folder is
        returned as its path, which the workers must be able to reach. Raises WorkError, which says why it cannot be
        read."""
        found = self._read.get(name, [])
        if which >= len(found):
            raise WorkError("the image is no longer there")
        return found[which]()


def _listed(names: list[str]) -> str:
    some = ", ".join(map(visible, names[:NAMED])) + (", …" if len(names) > NAMED else "")
    return f"{'1 file' if len(names) == 1 else f'{len(names)} files'} ({some})"


def results_among(names: Iterable[str]) -> list[str]:
    """Return the names that are results of an image in the same folder, such as `x_labels.tif` beside `x.png`. Results
    of crystalseg, Cellpose, ImageJ plugins and label editors are recognised."""
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
            # The files of images with equal names have a number: x_2_labels.tif.
            if {own, re.sub(r"_[0-9]+$", "", own)} & stems[folder]:
                found.append(name)
    return sorted(found, key=natural)


def _refuse(why: str) -> bytes:
    raise WorkError(why)


def _check_size(size: int) -> None:
    if size > MAX_FILE:
        raise WorkError(f"too large: {size / 2**20:.0f} MiB exceed the limit of {MAX_FILE / 2**20:.0f} MiB")


def _file(path: Path) -> bytes | Path:
    try:
        if is_mosaic(path):
            return path
        _check_size(path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise WorkError(f"cannot be read ({error.strerror})") from error


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    _check_size(entry.file_size)  # zipfile reads no more than the stated size
    if entry.flag_bits & 0x1:
        raise WorkError("it is encrypted. Pack it without a password")
    try:
        return archive.read(entry)
    except WorkError:
        raise
    except Exception as error:  # damaged data, unknown compression and others
        raise WorkError(f"cannot be unpacked ({error})") from error
