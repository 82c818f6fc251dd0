"""Long work: work of any kind that takes minutes to hours and has its own folder.

Each kind is a module of `kinds`. Pages, command line, retention and clean-up use this module and know no kind.
"""

import functools
import importlib
import pkgutil
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sqlalchemy import Engine

from crystalseg import places
from crystalseg.execution import kinds as package
from crystalseg.execution import work_state
from crystalseg.execution.work_state import LOCK, State, WorkError, locked
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import file_stem, natural
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run
from crystalseg.record.store import home
from crystalseg.report.handouts import HANDOUTS

UPLOADS = "images"  # folder with the copies of the uploads
BESIDE_UPLOADS = ("frames",)  # folders with files unpacked from the uploads


class Asked(Protocol):
    """What was requested; each kind has its own dataclass for it."""

    @property
    def id(self) -> str:
        """The id in the names of its entries on record."""

    @property
    def title(self) -> str:
        """What it is, in words, for people."""

    @property
    def operator(self) -> str:
        """The person who requested it, or ""."""


class Kind:
    """A kind of long work. A subclass says how the request is read and how the work is done, and overrides whatever
    else differs from the defaults.

    name: The name of the kind.
    place: The folder below the home folder where pages put such work.
    files: The files in a folder of this kind. The first one holds the request.
    least_workers: The smallest number of worker processes it can use.
    parts: What its state counts.
    takes_a_file: Whether a single uploaded file is itself the source, rather than the folder that holds it.
    """

    name: ClassVar[str]
    place: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    least_workers: ClassVar[int] = 1
    parts: ClassVar[str] = "images"
    takes_a_file: ClassVar[bool] = False

    def is_in(self, folder: Path) -> bool:
        """Return whether the work in `folder` is of this kind."""
        return all((folder / name).is_file() for name in self.files)

    def asked(self, folder: Path) -> Asked:
        """Return the request. Raises WorkError if it cannot be read."""
        raise NotImplementedError

    def carry_out(
        self, work: "Work", engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        """Do what is left, with this many processes or on the Dask cluster at this address. `say` gets lines for a
        log."""
        raise NotImplementedError

    def state(self, work: "Work", engine: Engine) -> State:
        """Return the state of the work."""
        return work_state.state_of(work.folder)

    def runs(self, work: "Work", engine: Engine) -> list[Run]:
        """Return its runs on record."""
        return []

    def results(self, work: "Work", run: Run) -> Path:
        """Return what the paths of a run's files begin with, before an underscore."""
        return work.folder / file_stem(run.image_name)

    def reads(self, work: "Work") -> set[str]:
        """Return the hashes of the images that the work reads from the store but did not put there itself."""
        return set()

    def pictures(self, work: "Work", run: Run) -> list[Path]:
        """Return the files that the work wrote with the pixels of a run's image."""
        stem = self.results(work, run)
        return [stem.with_name(f"{stem.name}_{row.ending}") for row in HANDOUTS.values() if row.needs_image]

    def copies(self, work: "Work") -> list[Path]:
        """Return the copies of images that were made for the work."""
        return [file for name in (UPLOADS, *BESIDE_UPLOADS) for file in _files_in(work.folder / name)]


@dataclass(frozen=True)
class Work:
    """Long work in a folder. `asked` is the request."""

    kind: Kind
    folder: Path
    asked: Any  # an Asked; its kind determines the class

    @property
    def id(self) -> str:
        """The id in the names of its entries on record."""
        return self.asked.id

    @property
    def title(self) -> str:
        """What it is, in words, for people."""
        return self.asked.title

    @property
    def profile(self) -> Profile | None:
        """The profile that it uses, if any."""
        return getattr(self.asked, "profile", None)

    @property
    def created(self) -> float:
        """When it was requested, s since 1970."""
        return (self.folder / self.kind.files[0]).stat().st_mtime

    @property
    def touched(self) -> float:
        """When it last began, continued or progressed, s since 1970."""
        files = (self.folder / name for name in (self.kind.files[0], work_state.STATE, work_state.LOG))
        return max(file.stat().st_mtime for file in files if file.exists())

    def state(self, engine: Engine) -> State:
        """Return its state."""
        return self.kind.state(self, engine)

    def runs(self, engine: Engine) -> list[Run]:
        """Return its runs on record."""
        return self.kind.runs(self, engine)

    def images(self, engine: Engine) -> dict[Path, str]:
        """Return the copies of images in its folder, each with the hash of the image that it was made from, or "" for a
        copy made before anything was measured."""
        made = {path: run.image_sha256 for run in self.runs(engine) for path in self.kind.pictures(self, run)}
        return dict.fromkeys(self.kind.copies(self), "") | {path: of for path, of in made.items() if path.is_file()}


@functools.cache
def kinds() -> dict[str, Kind]:
    """Return the kinds of long work by name."""
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    return {module.KIND.name: module.KIND for module in modules}


def works(kind: str = "") -> list[Work]:
    """Return all long work below the home folder, or that of one kind, newest first."""
    wanted = [kinds()[kind]] if kind else kinds().values()
    found = [
        Work(each, folder, each.asked(folder))
        for each in wanted
        for folder in (home() / each.place).glob("*")
        if each.is_in(folder)
    ]
    return sorted(found, key=lambda work: work.created, reverse=True)


def work_in(folder: Path) -> Work:
    """Return the work in a folder. Raises WorkError if there is none."""
    # The folder of a series is also one of a batch: take the kind with the most files.
    kind = max(
        (kind for kind in kinds().values() if kind.is_in(folder)), key=lambda kind: len(kind.files), default=None
    )
    if kind is not None:
        return Work(kind, folder, kind.asked(folder))
    raise WorkError(f"There is no long work ({', '.join(kinds())}) in {folder}.")


def check_same_request(
    folder: Path, begun: Any, source: Path, profile: Profile, calibration: Calibration | None
) -> None:
    """Check that work in `folder` can continue. Raises WorkError if its request `begun`, of a batch or a mosaic, names
    another source, profile or pixel size than those given now."""
    differs = {
        f"source ({begun.source})": begun.source != str(source.resolve()),
        "profile": begun.profile != profile,
        "pixel size": begun.calibration != calibration,
    }
    if any(differs.values()):
        words = " and ".join(name for name, other in differs.items() if other)
        raise WorkError(f"The work in {folder} was begun with another {words}. Choose another folder.")


def find(name: str) -> Work:
    """Return the work with that id or in that folder. Raises WorkError if there is none."""
    for work in works():
        if name in (work.id, work.folder.name):
            return work
    return work_in(Path(name))


def new_folder(kind: str) -> Path:
    """Make an empty folder for work of that kind, below the home folder."""
    folder = home() / kinds()[kind].place / uuid.uuid4().hex[:10]
    folder.mkdir(parents=True)
    return folder


def start(work: Work, workers: int | None = None) -> None:
    """Begin or continue work in a separate process that outlives this one."""
    work_state.ask(work.folder, "")
    many = work.kind.least_workers if workers is None else workers
    command = ("work", "go-on", str(work.folder), "--workers", str(many))
    with (work.folder / work_state.LOG).open("ab") as log:
        process = places.start(*command, stdout=log, stderr=log, start_new_session=True)
    work_state.started(work.folder, process)


def stop(work: Work, what: str, engine: Engine) -> str:
    """Ask for work to be `paused` or `cancelled`; if no process is doing it, stop it at once. Return in words what
    happens."""
    work_state.ask(work.folder, what)
    if work.state(engine).is_active:
        return f"{what} after the current step"
    work_state.ended(work.folder, what)
    return what


def discard(work: Work) -> None:
    """Abandon work and remove its folder. Everything on record stays. Raises WorkError while the work is running."""
    with locked(work.folder):
        clear(work.folder)
    shutil.rmtree(work.folder, ignore_errors=True)  # removes the lock file too, unless another process is looking at it


def clear(folder: Path) -> None:
    """Remove everything except the lock file from the folder of work whose lock this process holds."""
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name != LOCK:
            file.unlink()


def never_begun() -> list[Path]:
    """Return the folders below the home folder with uploads for work that never began."""
    begun = {work.folder for work in works()}
    places = {home() / kind.place for kind in kinds().values()}
    return [folder for place in places for folder in place.glob("*") if folder.is_dir() and folder not in begun]


def _files_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: natural(str(path)))
