"""Long work: what takes minutes to hours in a folder of its own, whatever kind it is of.

Each kind is a module of `kinds`. Pages, command line, retention and clean-up ask this module, and know no kind.
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
from crystalseg.micrographs.names import file_stem
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run
from crystalseg.record.store import home
from crystalseg.report.handouts import HANDOUTS

UPLOADS = "images"  # folder of the copies of what was uploaded for the work
BESIDE_UPLOADS = ("frames",)  # folders of what was unpacked of them


class Asked(Protocol):
    """What was asked for, as a kind's own dataclass says it."""

    @property
    def id(self) -> str:
        """What its entries on record are named by."""

    @property
    def title(self) -> str:
        """In words, for people."""

    @property
    def operator(self) -> str:
        """Who asked for it, or ""."""


class Kind:
    """A kind of long work. name: what it is called; place: folder below the home folder where pages put it; files: in
    its folder, of which the first says what was asked; least_workers: processes that it can do with; parts: what its
    state counts; takes_a_file: whether one file that is uploaded is its source, or else the folder that it lies in. A
    kind says how
    that file is read and how the work is done, and of the rest what is not as here."""

    name: ClassVar[str]
    place: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    least_workers: ClassVar[int] = 1
    parts: ClassVar[str] = "images"
    takes_a_file: ClassVar[bool] = False

    def is_in(self, folder: Path) -> bool:
        """Whether the work in `folder` is of this kind."""
        return all((folder / name).is_file() for name in self.files)

    def asked(self, folder: Path) -> Asked:
        """What was asked for; WorkError if that cannot be read."""
        raise NotImplementedError

    def carry_out(
        self, work: "Work", engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        """Do what is left, by so many processes or the Dask cluster of that address; `say` gets lines for a log."""
        raise NotImplementedError

    def state(self, work: "Work", engine: Engine) -> State:
        """How far it is."""
        return work_state.state_of(work.folder)

    def runs(self, work: "Work", engine: Engine) -> list[Run]:
        """What of it is on record."""
        return []

    def results(self, work: "Work", run: Run) -> Path:
        """What the paths of the files of a run begin with, before an underscore."""
        return work.folder / file_stem(run.image_name)

    def reads(self, work: "Work") -> set[str]:
        """Hashes of images in the store that it reads while it is done, and did not bring itself."""
        return set()

    def pictures(self, work: "Work", run: Run) -> list[Path]:
        """Files with the pixels of a run's image that the work wrote."""
        stem = self.results(work, run)
        return [stem.with_name(f"{stem.name}_{row.ending}") for row in HANDOUTS.values() if row.needs_image]

    def copies(self, work: "Work") -> list[Path]:
        """The copies of images that were made so that the work can be done."""
        return [file for name in (UPLOADS, *BESIDE_UPLOADS) for file in _files_in(work.folder / name)]


@dataclass(frozen=True)
class Work:
    """Work in a folder. asked: what was asked for."""

    kind: Kind
    folder: Path
    asked: Any  # an Asked: of which class, its kind knows

    @property
    def id(self) -> str:
        """What its entries on record are named by."""
        return self.asked.id

    @property
    def title(self) -> str:
        """In words, for people."""
        return self.asked.title

    @property
    def profile(self) -> Profile | None:
        """With which it is done, if with any."""
        return getattr(self.asked, "profile", None)

    @property
    def created(self) -> float:
        """When it was asked for, s since 1970."""
        return (self.folder / self.kind.files[0]).stat().st_mtime

    @property
    def touched(self) -> float:
        """When it was last begun, gone on with, or got further, s since 1970."""
        files = (self.folder / name for name in (self.kind.files[0], work_state.STATE, work_state.LOG))
        return max(file.stat().st_mtime for file in files if file.exists())

    def state(self, engine: Engine) -> State:
        """How far it is."""
        return self.kind.state(self, engine)

    def runs(self, engine: Engine) -> list[Run]:
        """What of it is on record."""
        return self.kind.runs(self, engine)

    def images(self, engine: Engine) -> dict[Path, str]:
        """The copies of images in its folder, and the hash of the image that each was made of, "" for what was there
        before any was measured."""
        made = {path: run.image_sha256 for run in self.runs(engine) for path in self.kind.pictures(self, run)}
        return dict.fromkeys(self.kind.copies(self), "") | {path: of for path, of in made.items() if path.is_file()}


@functools.cache
def kinds() -> dict[str, Kind]:
    """The kinds of long work by name."""
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    return {module.KIND.name: module.KIND for module in modules}


def works(kind: str = "") -> list[Work]:
    """All long work below the home folder, or that of a kind, the newest first."""
    wanted = [kinds()[kind]] if kind else kinds().values()
    found = [
        Work(each, folder, each.asked(folder))
        for each in wanted
        for folder in (home() / each.place).glob("*")
        if each.is_in(folder)
    ]
    return sorted(found, key=lambda work: work.created, reverse=True)


def work_in(folder: Path) -> Work:
    """The work in a folder; WorkError if there is none."""
    # a series is a batch, too, and more
    kind = max(
        (kind for kind in kinds().values() if kind.is_in(folder)), key=lambda kind: len(kind.files), default=None
    )
    if kind is not None:
        return Work(kind, folder, kind.asked(folder))
    raise WorkError(f"{folder} holds no {' or '.join(kinds())}.")


def find(name: str) -> Work:
    """The work of that id, or in that folder; WorkError if there is none."""
    for work in works():
        if name in (work.id, work.folder.name):
            return work
    return work_in(Path(name))


def new_folder(kind: str) -> Path:
    """An empty folder for work of that kind, below the home folder."""
    folder = home() / kinds()[kind].place / uuid.uuid4().hex[:10]
    folder.mkdir(parents=True)
    return folder


def start(work: Work, workers: int | None = None) -> None:
    """Begin work or go on with it, in a process of its own that outlives this one."""
    work_state.ask(work.folder, "")
    many = work.kind.least_workers if workers is None else workers
    command = ("work", "go-on", str(work.folder), "--workers", str(many))
    with (work.folder / work_state.LOG).open("ab") as log:
        process = places.start(*command, stdout=log, stderr=log, start_new_session=True)
    work_state.started(work.folder, process)


def stop(work: Work, what: str, engine: Engine) -> str:
    """Ask work to be `paused` or `cancelled`, at once where no process does it; what comes of that, in words."""
    work_state.ask(work.folder, what)
    if work.state(engine).is_active:
        return f"{what} after what is under way"
    work_state.ended(work.folder, what)
    return what


def discard(work: Work) -> None:
    """Give work up and remove its folder; what is on record stays. WorkError while it runs."""
    with locked(work.folder):
        clear(work.folder)
    shutil.rmtree(work.folder, ignore_errors=True)  # the lock's file, unless somebody looks at it just now


def clear(folder: Path) -> None:
    """Remove what lies in the folder of work whose lock is held."""
    for file in folder.iterdir():
        if file.is_dir():
            shutil.rmtree(file)
        elif file.name != LOCK:
            file.unlink()


def never_begun() -> list[Path]:
    """Folders below the home folder in which work was to be begun, and was not: what was uploaded lies there."""
    begun = {work.folder for work in works()}
    places = {home() / kind.place for kind in kinds().values()}
    return [folder for place in places for folder in place.glob("*") if folder.is_dir() and folder not in begun]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
