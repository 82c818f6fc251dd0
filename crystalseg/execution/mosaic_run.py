"""One mosaic with one profile: goes on where it stopped, whatever stopped it; on this machine or on a Dask cluster.

What the windows found lies in its folder until all is done; one process writes files and record.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from crystalseg.execution.batch_source import BatchError, NoRoomError
from crystalseg.execution.cluster import OnCluster, bring, connected, equip, models, threads_of
from crystalseg.execution.failure import failure
from crystalseg.execution.mosaic import Mosaic, State, load
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.result import Result, conclude
from crystalseg.execution.work_folder import asked, locked
from crystalseg.micrographs.decoding import MOSAIC_MEGAPIXELS, read_micrograph
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import file_stem
from crystalseg.micrographs.preparation import prepared
from crystalseg.record import store
from crystalseg.record.models import taught
from crystalseg.record.runs import Run
from crystalseg.record.validations import lookup
from crystalseg.report import handouts
from crystalseg.report.report import Details
from crystalseg.segmentation.masks import PackedMasks
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.windows import WindowProposals

NEEDED = 4  # bytes of the disk a pixel, for what is found and for the results


def run(
    folder: Path,
    engine: Engine,
    workers: int = 0,
    scheduler: str | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    formats: Sequence[str] = (),
) -> Run | None:
    """Do what is left of the mosaic in `folder`; its run, or None if a pause was asked for.

    `workers`: 0 computes in this process, else so many of this machine; `scheduler`: address of a Dask cluster in their
    place; `formats`: keys of the files that are written, or () for what mosaics write by default. UserErrors say what
    is wrong in one sentence: with the mosaic, the cluster, or the disk.
    """
    mosaic = load(folder)
    with locked(folder):
        told = _Told(folder, report)
        try:
            return _run(folder, mosaic, engine, workers, scheduler, told, formats or handouts.default(handouts.MOSAIC))
        except (Cancelled, KeyboardInterrupt):
            told.end("paused")
            return None
        except Exception as error:
            told.end("failed", failure(error))
            raise


def _run(
    folder: Path,
    mosaic: Mosaic,
    engine: Engine,
    workers: int,
    scheduler: str | None,
    told: "_Told",
    formats: Sequence[str],
) -> Run:
    told(Progress("reading", 0, 1, 0.0))
    settings = mosaic.profile.settings
    micrograph = read_micrograph(mosaic.source, max_megapixels=MOSAIC_MEGAPIXELS, scratch=folder)
    model = taught(engine, settings)
    networks = models(bring(model))
    _check_begun(folder, mosaic, micrograph, networks)
    micrograph = prepared(micrograph, mosaic.calibration)
    _check_disk(folder, micrograph)
    told.stem = file_stem(micrograph.name)
    with connected(workers, scheduler) if workers or scheduler else nullcontext() as client:
        compute = None
        if client:
            threads = threads_of(workers, scheduler)
            compute = OnCluster(client, settings.architecture, threads, equip(client, model))
        kept = KeptInFolder(folder / "windows")
        result = measure_micrograph(micrograph, settings, networks, told, compute, kept)
    told(Progress("report and files", 0, 1, 0.98))
    place = Path(mosaic.results) if mosaic.results else folder / told.stem
    run = _written(place, result, mosaic, engine, formats)
    told.end("done")
    shutil.rmtree(folder / "windows", ignore_errors=True)
    return run


def _check_begun(folder: Path, mosaic: Mosaic, micrograph: Micrograph, networks: Models) -> None:
    """Note what a mosaic is begun with; BatchError if it was begun with something else."""
    used, _ = networks.used_by(mosaic.profile.settings)
    if not mosaic.sha256:
        replace(mosaic, sha256=micrograph.sha256, weights=used).save(folder)
    elif mosaic.sha256 != micrograph.sha256:
        raise BatchError(f"{mosaic.source} has changed since this mosaic was begun: begin it in another folder.")
    elif mosaic.weights != used:
        raise BatchError("Other networks are installed than this mosaic was begun with: begin it in another folder.")


def _check_disk(folder: Path, micrograph: Micrograph) -> None:
    needed = NEEDED * micrograph.shape[0] * micrograph.shape[1]
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(
            f"{micrograph.name}: its windows and results need about {needed / 2**30:.1f} GiB on the disk of {folder}, "
            f"and {free / 2**30:.1f} GiB are free; make room, or choose another folder."
        )


def _written(place: Path, result: Result, order: Mosaic, engine: Engine, formats: Sequence[str]) -> Run:
    """Result and report into files whose paths begin with `place`, and on record: a batch takes what is there for
    done."""
    profile = order.profile
    if Path(order.source).is_file():
        store.put_file(Path(order.source))
    details = Details(sample=result.micrograph.name, operator=order.operator)
    validation = lookup(profile, profile.settings)
    report = conclude(engine, result, validation, details, profile, formats=formats, place=place, id=order.id)
    return report.parts[0].run


class _Told:
    """Called with progress: raises `Cancelled` if a pause is asked for in the folder, and writes the state there, at
    most twice a second."""

    def __init__(self, folder: Path, report: Callable[[Progress], None]):
        self.folder, self.report, self.stem = folder, report, ""
        self._last, self._now = 0.0, State("running")

    def __call__(self, progress: Progress) -> None:
        self.report(progress)
        if asked(self.folder):
            raise Cancelled
        if time.monotonic() - self._last < 0.5:
            return
        self._last = time.monotonic()
        tiles = f", tile {progress.done} of {progress.total}" if progress.total > 1 else ""
        self._write(State("running", progress.stage + tiles, progress.share, "", self.stem))

    def end(self, state: str, error: str = "") -> None:
        """How it ended."""
        share = 1.0 if state == "done" else self._now.share
        self._write(replace(self._now, state=state, share=share, error=error, stem=self.stem))

    def _write(self, state: State) -> None:
        self._now = state
        store.write_safely(self.folder / "state.json", json.dumps(asdict(state)).encode())


class KeptInFolder:
    """mosaic.BandCache in a folder, a file a band."""

    def __init__(self, folder: Path):
        self.folder = folder

    def _file(self, scale: int, band: int) -> Path:
        return self.folder / f"scale{scale}_band{band}.npz"

    def bands(self, scale: int) -> int:
        count = 0
        while self._file(scale, count).exists():
            count += 1
        return count

    def get(self, scale: int, band: int) -> list[WindowProposals]:
        with np.load(self._file(scale, band), allow_pickle=False) as file:
            return [_found({name: file[f"{name}_{k}"] for name in _ARRAYS}) for k in range(int(file["count"]))]

    def put(self, scale: int, band: int, found: list[WindowProposals]) -> None:
        arrays = {f"{name}_{k}": values for k, each in enumerate(found) for name, values in _arrays(each).items()}
        with store.written_safely(self._file(scale, band)) as file:
            np.savez(file, allow_pickle=False, count=np.array(len(found)), **arrays)


_MASKS = tuple(f.name for f in fields(PackedMasks))
_ARRAYS = (*_MASKS, "quality", "figures", "seen")


def _arrays(found: WindowProposals) -> dict[str, np.ndarray]:
    own = {name: np.asarray(getattr(found.masks, name)) for name in _MASKS}
    return own | {"quality": found.quality, "figures": found.figures, "seen": found.seen}


def _found(arrays: dict[str, np.ndarray]) -> WindowProposals:
    height, width = arrays.pop("shape").tolist()
    masks = PackedMasks((height, width), *(arrays.pop(name) for name in _MASKS if name != "shape"))
    return WindowProposals(masks, **arrays)
