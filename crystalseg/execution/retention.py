"""Images that need not be kept any longer, by the profiles they were measured with, are deleted, and that on record."""

import datetime
import shutil
from collections import defaultdict

from sqlalchemy import Engine

from crystalseg.execution import batch
from crystalseg.record import ledger, store
from crystalseg.record.profiles import profiles
from crystalseg.record.runs import Run


def expired(engine: Engine, now: datetime.datetime) -> dict[str, list[ledger.Entry]]:
    """The hashes of images in the store that no run needs any longer, each with the entries of its runs: all of them
    are older than their profile, as it is now, keeps images. A run without such a profile keeps its image for ever."""
    kept = {name: profile.keep_images for name, profile in profiles(engine).items()}
    by_image: dict[str, list[ledger.Entry]] = defaultdict(list)
    for entry in ledger.entries(engine, "run"):
        if sha256 := ledger.files_in(entry.body).get("image"):
            by_image[sha256].append(entry)

    def is_over(entry: ledger.Entry) -> bool:
        days = kept.get(entry.body.get("profile", ""))
        age = now - datetime.datetime.fromisoformat(entry.created)
        return days is not None and age > datetime.timedelta(days=days)

    return {
        sha256: entries
        for sha256, entries in by_image.items()
        if store.place(sha256).exists() and all(map(is_over, entries))
    }


def retain(engine: Engine, now: datetime.datetime, who: str = "") -> list[str]:
    """Delete the images that are `expired` with the maps and copies made of them; returns the names they had. Labels,
    figures and reports stay. First the record says so, then they go: interrupted, it is done again."""
    names = []
    for sha256, entries in expired(engine, now).items():
        runs = [Run.from_dict(entry.body) for entry in entries]
        said = ledger.entries(engine, "deletion", sha256)
        if not said or said[-1].number < entries[-1].number:
            body = {"name": runs[0].image_name, "runs": [run.id for run in runs], "why": "retention by profile"}
            ledger.append(engine, "deletion", sha256, body, who)
        for run in runs:
            shutil.rmtree(store.home() / "jobs" / (run.job or run.id), ignore_errors=True)
        store.place(sha256).unlink(missing_ok=True)
        names.append(runs[0].image_name)
    _clear_batches(engine)
    return names


def _clear_batches(engine: Engine) -> None:
    """A batch's copies of its uploads go when none of its runs has its image any longer."""
    for file in (store.home() / "batches").glob("*/batch.json"):
        listed = batch.load(file.parent)
        entries = ledger.entries(engine, "run", prefix=listed.run_id())
        images = [ledger.files_in(entry.body).get("image", "") for entry in entries]
        if images and not any(image and store.place(image).exists() for image in images):
            shutil.rmtree(file.parent / "images", ignore_errors=True)
