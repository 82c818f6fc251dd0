"""Measure one mosaic with one profile, on this machine or on a Dask cluster. It continues after any interruption.

The results of the windows stay in its folder until all are done. One process writes the files and the record.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from sqlalchemy import Engine

from crystalseg.execution.batch_source import NoRoomError
from crystalseg.execution.cluster import OnCluster, bring, connected, equip, models, threads_of
from crystalseg.execution.kinds.mosaic import WINDOWS, Mosaic, load
from crystalseg.execution.one_image import measure_micrograph
from crystalseg.execution.result import Result, conclude
from crystalseg.execution.work_state import Reporter, WorkError, working
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
from crystalseg.segmentation.progress import Progress
from crystalseg.segmentation.windows import WindowProposals

NEEDED = 4  # bytes of disk per pixel, for the windows and the results


def run(
    folder: Path,
    engine: Engine,
    workers: int = 0,
    scheduler: str | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    formats: Sequence[str] = (),
) -> Run | None:
    """Do what is left of the mosaic in `folder`. Return its run, or None if it was stopped.

    `workers` is the number of processes of this machine; with 0 this process computes. `scheduler` is the address of a
    Dask cluster to use instead. `formats` lists the keys of the files to write; () stands for the default of mosaics.
    Raises UserErrors, which say in one sentence what is wrong with the mosaic, the cluster or the disk.
    """
    mosaic = load(folder)
    run: Run | None = None
    with working(folder) as reporter:

        def told(progress: Progress) -> None:
            report(progress)
            reporter.check()
            tell(reporter, progress)

        written = formats or handouts.default(handouts.MOSAIC)
        run = _run(folder, mosaic, engine, workers, scheduler, told, written)
    return run


def tell(reporter: Reporter, progress: Progress) -> None:
    """Report the progress of one image as the state of the work."""
    reporter(stage=progress.stage, done=progress.done, total=progress.total, share=progress.share)


def _run(
    folder: Path,
    mosaic: Mosaic,
    engine: Engine,
    workers: int,
    scheduler: str | None,
    told: Callable[[Progress], None],
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
    with connected(workers, scheduler) if workers or scheduler else nullcontext() as client:
        compute = None
        if client:
            threads = threads_of(workers, scheduler)
            compute = OnCluster(client, settings.architecture, threads, equip(client, model))
        kept = KeptInFolder(folder / WINDOWS)
        result = measure_micrograph(micrograph, settings, networks, told, compute, kept)
    told(Progress("report and files", 0, 1, 0.98))
    place = Path(mosaic.results) if mosaic.results else folder / file_stem(micrograph.name)
    run = _written(place, result, mosaic, engine, formats)
    shutil.rmtree(folder / WINDOWS, ignore_errors=True)
    return run


def _check_begun(folder: Path, mosaic: Mosaic, micrograph: Micrograph, networks: Models) -> None:
    """Note the image and weights that a mosaic begins with. Raises WorkError if it was begun with different ones."""
    used, _ = networks.used_by(mosaic.profile.settings)
    if not mosaic.sha256:
        replace(mosaic, sha256=micrograph.sha256, weights=used).save(folder)
    elif mosaic.sha256 != micrograph.sha256:
        raise WorkError(f"{mosaic.source} has changed since this mosaic was begun. Begin it again in another folder.")
    elif mosaic.weights != used:
        raise WorkError(
            "This mosaic was begun with other weights than those installed. Begin it again in another folder."
        )


def _check_disk(folder: Path, micrograph: Micrograph) -> None:
    needed = NEEDED * micrograph.shape[0] * micrograph.shape[1]
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NoRoomError(
            f"{micrograph.name}: its windows and results need about {needed / 2**30:.1f} GiB on the disk of {folder}, "
            f"but only {free / 2**30:.1f} GiB are free. Free some space, or choose another folder."
        )


def _written(place: Path, result: Result, order: Mosaic, engine: Engine, formats: Sequence[str]) -> Run:
    """Write result and report to files whose paths begin with `place`, and put them on record. The run comes last,
    because a batch takes what is on record as done."""
    profile = order.profile
    if Path(order.source).is_file():
        store.put_file(Path(order.source))
    details = Details(sample=result.micrograph.name, operator=order.operator)
    validation = lookup(profile, profile.settings)
    report = conclude(engine, result, validation, details, profile, formats=formats, place=place, id=order.id)
    return report.parts[0].run


class KeptInFolder:
    """mosaic.BandCache in a folder, with one file per band."""

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
