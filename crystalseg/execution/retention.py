"""Delete images that the profiles of their runs no longer keep, and put the deletion on record.

Labels, figures and reports stay. Files that the command line wrote outside the home folder are left to their owner.
"""

import datetime
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from crystalseg.execution import work
from crystalseg.execution.queue import under_way
from crystalseg.execution.work import Work
from crystalseg.execution.work_state import ENDED, LOCK, State, WorkError, locked
from crystalseg.micrographs.names import natural
from crystalseg.record import annotations, ledger, store
from crystalseg.record.profiles import profiles
from crystalseg.record.results import image_of
from crystalseg.record.runs import Run

WHY = "retention by profile"
ABANDONED = datetime.timedelta(days=1)  # age at which uploads of work that never began are deleted


@dataclass(frozen=True)
class Deletion:
    """Files that are deleted together.

    subject: The hash of an image, or the id of the work that the images were uploaded for.
    name: What it is, in words.
    paths: The files and folders to delete.
    runs: The ids of the runs concerned.
    taught: The annotations made of the image: the key, and the hash of the copy of the image.
    folder: The folder of the work, if the deletion is about work.
    problem: One sentence if not everything could be deleted.
    """

    subject: str
    name: str
    paths: tuple[Path, ...]
    runs: tuple[str, ...] = ()
    taught: tuple[tuple[str, str], ...] = ()
    folder: Path | None = None
    problem: str = ""


def expired(engine: Engine, now: datetime.datetime) -> list[Deletion]:
    """Return what is to be deleted: expired images (`_Held.is_over`) that no work under way needs, with all their
    copies, and the uploads of work that has ended or was left alone for as long as its profile keeps images."""
    held = _Held(engine, now)
    over = {sha256: runs for sha256, runs in held.by_image.items() if held.is_over(runs)}
    images = (held.image(sha256, runs) for sha256, runs in over.items() if sha256 not in held.needed)
    return [deletion for deletion in (*images, *held.uploads(set(over)), *held.never_begun()) if deletion.paths]


def retain(engine: Engine, now: datetime.datetime, who: str = "") -> list[Deletion]:
    """Delete what is `expired`. Return the deletions, with a problem where something could not be deleted. Each
    deletion goes on record before the files are deleted, so that an interrupted one is repeated."""
    return [_deleted(engine, deletion, who) for deletion in expired(engine, now)]


def _deleted(engine: Engine, deletion: Deletion, who: str) -> Deletion:
    try:
        with locked(deletion.folder) if deletion.folder else nullcontext():
            _put_on_record(engine, deletion, who)
            for path in deletion.paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    except WorkError as error:
        return replace(deletion, problem=str(error))
    except OSError as error:
        return replace(deletion, problem=f"{error.filename}: cannot be deleted ({error.strerror}). Delete it by hand.")
    return deletion


def _put_on_record(engine: Engine, deletion: Deletion, who: str) -> None:
    what = [path.relative_to(store.home()).as_posix() for path in deletion.paths]
    body = {"name": deletion.name, "runs": list(deletion.runs), "why": WHY, "what": what}
    last = max((entry.number for run in deletion.runs for entry in ledger.entries(engine, "run", run)), default=0)
    said = ledger.entries(engine, "deletion", deletion.subject)
    if not said or said[-1].number < last or set(what) - set(said[-1].body.get("what", ())):
        ledger.append(engine, "deletion", deletion.subject, body, who)
    in_use = {one.key for one in annotations.annotations(engine)}
    for key, sha256 in deletion.taught:
        if key in in_use:
            annotations.remove(engine, key, who)
        ledger.append(engine, "deletion", sha256, body, who)


class _Held:
    """All runs, works, jobs and annotations, by the images that they hold."""

    def __init__(self, engine: Engine, now: datetime.datetime) -> None:
        self.now = now
        self.days = {name: profile.keep_images for name, profile in profiles(engine).items()}
        self.by_image: dict[str, list[ledger.Entry]] = defaultdict(list)
        for entry in ledger.entries(engine, "run"):
            if sha256 := entry.body.get("image_sha256", ""):
                self.by_image[sha256].append(entry)
        self.works = [(one, one.runs(engine), one.images(engine)) for one in work.works()]
        states = {one.folder: one.state(engine) for one, _, _ in self.works}
        self.settled = {one.folder for one, _, _ in self.works if self._is_settled(one, states[one.folder])}
        self.jobs: dict[str, list[Path]] = defaultdict(list)
        for file in sorted((store.home() / "jobs").glob("*/micrograph.npz"), key=lambda path: natural(str(path))):
            self.jobs[image_of(file)].append(file.parent)
        self.taught: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for entry in ledger.entries(engine, "annotation"):
            if copy := ledger.files_in(entry.body).get("image"):
                self.taught[self._original(entry)].append((entry.subject, copy))
        busy = under_way(engine)
        self.needed = {image for image, places in self.jobs.items() if any(place.name in busy for place in places)}
        for one, runs, _ in self.works:
            if one.folder not in self.settled:
                self.needed |= {run.image_sha256 for run in runs}
            if states[one.folder].is_active:
                read = one.kind.reads(one)
                self.needed |= {image for image, copies in self.taught.items() if read & {copy for _, copy in copies}}

    def is_over(self, runs: Sequence[ledger.Entry]) -> bool:
        """Return whether an image has expired: at least one of its runs names a profile, and each run is older than its
        profile, in its current state, keeps images.

        A run of the app's worker names no profile. It gets the profiles with which its job was reported, or else those
        of the image's other runs; of several, the longest time counts. Any other run keeps its image if it has no
        profile, if its profile is gone, or if the profile keeps images for ever.
        """
        named = [run for run in runs if run.body.get("profile")]
        for run in runs:
            job, own = run.body.get("job", ""), [run]
            if run not in named and job == run.subject:
                own = [other for other in named if other.body.get("job") == job] or named
            days = [self.days.get(one.body.get("profile", "")) for one in own]
            age = self.now - datetime.datetime.fromisoformat(run.created)
            if not days or any(limit is None or age <= datetime.timedelta(days=limit) for limit in days):
                return False
        return bool(named)

    def _is_settled(self, one: Work, state: State) -> bool:
        """Return whether work no longer needs its images: it has ended, or was left alone for as long as its profile
        keeps them."""
        return not state.is_active and (state.status in ENDED or self._is_left_alone(one))

    def _is_left_alone(self, one: Work) -> bool:
        days = self.days.get(one.profile.name) if one.profile else None
        return days is not None and self.now.timestamp() - one.touched > 86400 * days

    def _original(self, annotation: ledger.Entry) -> str:
        """Return the hash of the uploaded file that a labelled image was made from, or ""."""
        if own := annotation.body.get("image_sha256"):
            return own
        # Earlier releases recorded only the run that it was made from.
        job = re.fullmatch(r"run (\S+), corrected", annotation.body.get("source", ""))
        found = [image for image, runs in self.by_image.items() if job and any(run.subject == job[1] for run in runs)]
        return found[0] if found else ""

    def image(self, sha256: str, entries: Sequence[ledger.Entry]) -> Deletion:
        """Return the deletion of an image with everything that was made from it."""
        runs = [Run.from_dict(entry.body) for entry in entries]
        jobs = {store.home() / "jobs" / (run.job or run.id) for run in runs} | set(self.jobs[sha256])
        pictures = [path for _, _, images in self.works for path, of in images.items() if of == sha256]
        # A copy that was itself measured expires on its own.
        copies = [(key, copy) for key, copy in self.taught[sha256] if copy == sha256 or copy not in self.by_image]
        taught = tuple((key, copy) for key, copy in copies if store.place(copy).exists())
        files = [store.place(one) for one in dict.fromkeys((sha256, *(copy for _, copy in taught)))]
        there = tuple(path for path in (*files, *sorted(jobs), *pictures) if path.exists())
        return Deletion(sha256, runs[0].image_name, there, tuple(run.id for run in runs), taught)

    def uploads(self, over: set[str]) -> Iterator[Deletion]:
        """Yield the uploads of settled work that was left alone or has an image in `over`. Images in it that have not
        expired stay in the store, under their hash."""
        for one, runs, images in self.works:
            if one.folder not in self.settled:
                continue
            if self._is_left_alone(one) or any(run.image_sha256 in over for run in runs):
                paths = tuple(path for path, of in images.items() if not of)
                name = f"uploads for {one.kind.name} {one.title}"
                yield Deletion(one.id, name, paths, tuple(run.id for run in runs), folder=one.folder)

    def never_begun(self) -> Iterator[Deletion]:
        """Yield the uploads of work that never began, for example because the app was stopped."""
        for folder in work.never_begun():
            age = self.now.timestamp() - folder.stat().st_mtime
            if age > ABANDONED.total_seconds() and any(file.name != LOCK for file in folder.iterdir()):
                yield Deletion(folder.name, f"uploads in {folder.name} for work that never began", (folder,))
