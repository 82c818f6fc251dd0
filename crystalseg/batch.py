"""Many images with one profile: a queue on Dask that goes on where it stopped, whatever stopped it.

A batch is a folder. `batch.json` says what is to be done; what was done is on record, each image under an id made of
the batch's and its own, so that nothing is done twice. Workers only compute; one process writes files and record.
"""

import functools
import io
import json
import os
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout
from sqlalchemy import Engine

from crystalseg import ledger, store
from crystalseg.calibration import Calibration
from crystalseg.micrograph import FORMATS, Micrograph, find_data_bar, read_micrograph
from crystalseg.profiles import Profile
from crystalseg.runs import Run, issue, record, reopen

IN_FLIGHT = 2  # images handed out ahead, a worker
AGREE = 0.05  # pixel sizes further apart than this share are of two magnifications


class BatchError(ValueError):
    """A batch that cannot be started; the message is one sentence for the user."""


@dataclass(frozen=True)
class Batch:
    """id; source: folder or ZIP file; names: of the images in it, in order; profile; calibration: of all images, or
    None if each states its own or has none."""

    id: str
    source: str
    names: tuple[str, ...]
    profile: Profile
    calibration: Calibration | None = None

    def run_id(self, index: int | None = None) -> str:
        """The id under which an image is recorded; without an index, what all of them begin with."""
        return f"{self.id}-" if index is None else f"{self.id}-{index:05d}"

    def index(self, run_id: str) -> int:
        """The image that has this id."""
        return int(run_id.removeprefix(self.run_id()))


@dataclass(frozen=True)
class Measured:
    """What a worker made of an image: the run and its files by name of ending."""

    run: Run
    files: dict[str, bytes]


@dataclass(frozen=True)
class State:
    """How far a batch is. state: running, paused, cancelled or done; reasons: of each image that failed, by name."""

    total: int
    done: int
    reasons: dict[str, str]
    state: str


def collect(source: Path) -> tuple[str, ...]:
    """The images of a folder (and its folders) or ZIP file, by name; BatchError if there are none."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
    elif source.is_dir():
        names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    else:
        raise BatchError(f"{source} is neither a folder nor a ZIP file.")
    images = sorted(n for n in names if n.lower().rpartition(".")[2] in FORMATS and not Path(n).name.startswith("."))
    if not images:
        raise BatchError(f"{source} holds no image ({', '.join(FORMATS)}).")
    return tuple(images)


def _read(batch: Batch, name: str) -> bytes:
    source = Path(batch.source)
    if source.is_dir():
        return (source / name).read_bytes()
    with zipfile.ZipFile(source) as archive:
        return archive.read(name)


def prepare(folder: Path, source: Path, profile: Profile, calibration: Calibration | None = None) -> Batch:
    """The batch in `folder`: the one that is there already, or a new one. BatchError if that is of something else."""
    file = folder / "batch.json"
    if file.exists():
        batch = load(folder)
        if (batch.source, batch.profile, batch.calibration) != (str(source.resolve()), profile, calibration):
            raise BatchError(
                f"{folder} holds another batch, of {batch.source}, or of another profile or pixel size: choose another."
            )
        return batch
    batch = Batch(uuid.uuid4().hex[:12], str(source.resolve()), collect(source), profile, calibration)
    facts = asdict(batch) | {"profile": json.loads(profile.to_json())}
    store.write_safely(file, json.dumps(facts, indent=1).encode())
    return batch


def load(folder: Path) -> Batch:
    """The batch that `prepare` made in `folder`."""
    try:
        facts = json.loads((folder / "batch.json").read_text())
    except OSError as error:
        raise BatchError(f"{folder} holds no batch.") from error
    known = Calibration(**facts["calibration"]) if facts["calibration"] else None
    return Batch(facts["id"], facts["source"], tuple(facts["names"]), Profile.from_dict(facts["profile"]), known)


def state_of(folder: Path, engine: Engine) -> State:
    """How far the batch in `folder` is, from the record."""
    batch = load(folder)
    done, reasons = _settled(engine, batch)
    finished = len(done) + len(reasons) == len(batch.names)
    state = "done" if finished else "running" if _locked(folder) else asked(folder) or "paused"
    return State(len(batch.names), len(done), {batch.names[k]: why for k, why in sorted(reasons.items())}, state)


def _settled(engine: Engine, batch: Batch) -> tuple[set[int], dict[int, str]]:
    """Indices of the images on record, and of those that failed with their reasons."""
    done = {batch.index(subject) for subject in ledger.subjects(engine, "run", batch.run_id())}
    failed = ledger.entries(engine, "failure", prefix=batch.run_id())
    return done, {batch.index(entry.subject): entry.body["reason"] for entry in failed}


def _locked(folder: Path) -> bool:
    try:
        with FileLock(folder / "batch.lock").acquire(timeout=0):
            return False
    except Timeout:
        return True


def ask(folder: Path, what: str) -> None:
    """Ask a running batch to be `paused` or `cancelled` after the images in work, or with "" to go on."""
    store.write_safely(folder / "asked", what.encode())


def asked(folder: Path) -> str:
    """What was asked of the batch last."""
    file = folder / "asked"
    return file.read_text() if file.exists() else ""


def run(
    folder: Path,
    engine: Engine,
    workers: int = 1,
    scheduler: str | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> State:
    """Do what is left of the batch in `folder`; returns how far it got. `scheduler`: address of a Dask cluster, else
    `workers` processes of this machine. `report` gets a line an image. BatchError if it runs already."""
    from distributed import as_completed

    batch = load(folder)
    try:
        lock = FileLock(folder / "batch.lock").acquire(timeout=0)
    except Timeout:
        raise BatchError(f"The batch in {folder} is running already.") from None
    with lock:
        done, reasons = _settled(engine, batch)
        todo = [k for k in range(len(batch.names)) if k not in done and k not in reasons]
        if not todo:
            finish(folder, engine)
            return state_of(folder, engine)
        left = iter(todo)
        with _client(workers, scheduler) as client:
            threads = max(1, (os.cpu_count() or 1) // workers) if scheduler is None else None
            flight = as_completed()
            indices = {}

            def send() -> None:
                for k in left:
                    try:
                        data = _read(batch, batch.names[k])
                    except (OSError, KeyError, zipfile.BadZipFile) as error:
                        _fail(engine, batch, k, f"cannot be read ({error})", report)
                        continue
                    store.put(data)
                    future = client.submit(measure_one, data, batch, k, threads, pure=False)
                    indices[future.key] = k
                    flight.add(future)
                    return

            if not asked(folder):
                for _ in range(IN_FLIGHT * max(workers, len(client.scheduler_info()["workers"]))):
                    send()
            for future in flight:
                _settle(engine, batch, folder, indices.pop(future.key), future, report)
                if not asked(folder):
                    send()
    finish(folder, engine)
    return state_of(folder, engine)


def _client(workers: int, scheduler: str | None):
    from distributed import Client, LocalCluster

    if scheduler is None:
        cluster = LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
        )
        return Client(cluster)
    try:
        return Client(scheduler, timeout=10)
    except OSError as error:
        raise BatchError(f"No Dask scheduler answers at {scheduler}.") from error


def _settle(engine: Engine, batch: Batch, folder: Path, k: int, future, report: Callable[[str], None]) -> None:
    error = future.exception()
    if error is not None:
        sentence = str(error) if isinstance(error, ValueError) else f"The run failed: {error!r}."
        _fail(engine, batch, k, sentence, report)
        return
    made: Measured = future.result()
    future.release()
    for ending, data in made.files.items():
        store.write_safely(folder / _out_name(batch, k, ending), data)
    store.put(made.files["labels.npz"])
    issue(engine, [made.run.id], "PDF", made.files["report.pdf"])
    # last: what is on record is done
    record(engine, made.run)
    average = made.run.figures["average"]["value"] if made.run.figures else float("nan")
    report(f"{batch.names[k]}: average {average:.4g} {made.run.figures['unit'] if made.run.figures else ''}")


def _fail(engine: Engine, batch: Batch, k: int, reason: str, report: Callable[[str], None]) -> None:
    ledger.append(engine, "failure", batch.run_id(k), {"name": batch.names[k], "reason": reason}, once=True)
    report(f"{batch.names[k]}: {reason}")


def _out_name(batch: Batch, k: int, ending: str) -> str:
    """The file of an image: its name, with its number where two have the same."""
    stem = Path(batch.names[k]).with_suffix("").as_posix().replace("/", "_")
    alike = sum(Path(n).with_suffix("").as_posix().replace("/", "_") == stem for n in batch.names)
    return f"{stem}_{k}_{ending}" if alike > 1 else f"{stem}_{ending}"


@functools.cache
def _models():
    from crystalseg.pipeline import load_models

    return load_models()


def measure_one(data: bytes, batch: Batch, k: int, threads: int | None) -> Measured:
    """In a worker: an image's bytes to its run and files. ValueError says why an image cannot be measured."""
    import torch

    from crystalseg.baselines import segment
    from crystalseg.measure.crystals import measure_crystals
    from crystalseg.measure.distribution import summarise
    from crystalseg.report.export import crystals_csv
    from crystalseg.report.pdf import build_pdf
    from crystalseg.report.sample import Details, report_of
    from crystalseg.runs import describe

    if threads is not None:
        torch.set_num_threads(threads)
    settings = batch.profile.settings
    micrograph = read_micrograph(data, Path(batch.names[k]).name)
    if batch.calibration is not None:
        micrograph = _calibrated(micrograph, batch.calibration)
    bar = find_data_bar(micrograph.pixels)
    if bar is not None:
        micrograph = micrograph.crop(0, 0, bar, micrograph.shape[1])
    found = segment(micrograph, settings, _models())
    crystals = measure_crystals(found.labels, micrograph.um_per_px, found.confidence)
    summary = summarise(crystals, micrograph.shape, settings.measuring.border_rule)
    details = Details(sample=micrograph.name)
    made = describe(micrograph, found, summary, id=batch.run_id(k), details=details.words(), profile=batch.profile.name)
    made = replace(made, files=made.files | {"image": micrograph.sha256})
    report = report_of(micrograph, found, crystals, summary, made, details, batch.profile)
    files = {
        "labels.npz": store.get(made.files["labels"]),
        "crystals.csv": crystals_csv(crystals),
        "report.pdf": build_pdf(report),
    }
    return Measured(report.parts[0].run, files)


def _calibrated(micrograph: Micrograph, known: Calibration) -> Micrograph:
    """ValueError if the image itself states another pixel size: it may be of another magnification."""
    own = micrograph.calibration
    if own is not None and abs(own.um_per_px / known.um_per_px - 1) > AGREE:
        raise ValueError(
            f"{micrograph.name}: the file states {own.um_per_px:.4g} µm per pixel, the batch {known.um_per_px:.4g} "
            f"({known.source}); measure it alone, or in a batch of its magnification."
        )
    return replace(micrograph, calibration=known)


def finish(folder: Path, engine: Engine) -> None:
    """Write what concerns all images: `summary.csv`, a row each with its figures, `failures.csv` with reasons, and once
    all is done `combined_report.pdf`, which takes the images for fields of one sample."""
    batch = load(folder)
    _, reasons = _settled(engine, batch)
    entries = ledger.entries(engine, "run", prefix=batch.run_id())
    runs = [Run.from_dict(entry.body) for entry in sorted(entries, key=lambda e: e.subject)]
    rows = []
    for run in runs:
        facts = run.figures or {}
        average = facts.get("average", {})
        rows.append(
            {"image": batch.names[batch.index(run.id)], "run": run.id,
             "unit": facts.get("unit"), "counted": facts.get("counted"),
             "average": average.get("value"), "low": average.get("low"), "high": average.get("high"),
             **{f"{name} by {w}": facts[w][i] for w in ("number", "area") if facts
                for i, name in enumerate(("D10", "D50", "D90"))},
             "largest": facts.get("largest"), "verdict": run.outcome}
        )  # fmt: skip
    _csv(folder / "summary.csv", rows)
    _csv(folder / "failures.csv", [{"image": batch.names[k], "reason": why} for k, why in sorted(reasons.items())])
    if len(runs) > 1 and len(runs) + len(reasons) == len(batch.names):
        combined = issue(engine, [run.id for run in runs], "PDF", _combined(batch, runs))
        store.write_safely(folder / "combined_report.pdf", combined)


def _combined(batch: Batch, runs: list[Run]) -> bytes:
    """The PDF report of all images as fields of one sample."""
    from crystalseg.report.content import PICTURED
    from crystalseg.report.pdf import build_pdf
    from crystalseg.report.sample import Details, make, reopened_part

    # pictures are shown of the first only; of the others neither image nor labels are held
    parts = [reopened_part(reopen(one, with_image=number < PICTURED)) for number, one in enumerate(runs)]
    product = batch.profile.product or f"batch {batch.id}"
    return build_pdf(make(parts, Details(sample=product), batch.profile))


def _csv(path: Path, rows: list[dict]) -> None:
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_csv(buffer, index=False, float_format="%.6g", encoding="utf-8-sig")
    store.write_safely(path, buffer.getvalue())
