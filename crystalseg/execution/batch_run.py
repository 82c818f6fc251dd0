"""Run a batch on Dask: workers compute, and this process writes the files and the record.

Each worker measures one image at a time. Mosaics follow one after another: all workers together measure one window by
window, so no mosaic is sent as a whole, and an interrupted one continues where it stopped.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.execution import mosaic_run
from crystalseg.execution.batch_source import NoRoomError, Source
from crystalseg.execution.batch_summary import finish
from crystalseg.execution.cluster import ClusterError, connected, equip, models, threads_of, with_threads
from crystalseg.execution.failure import failure
from crystalseg.execution.kinds import mosaic
from crystalseg.execution.kinds.batch import Batch, load, mosaic_folder, progress_of, settled
from crystalseg.execution.result import Described, documented, settle
from crystalseg.execution.work_state import Reporter, State, asked, working
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.decoding import is_mosaic, read_micrograph
from crystalseg.micrographs.names import file_names
from crystalseg.micrographs.preparation import prepared
from crystalseg.record import ledger, store
from crystalseg.record.anchors import Anchor, anchor
from crystalseg.record.models import taught
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run
from crystalseg.record.validations import lookup
from crystalseg.report import handouts
from crystalseg.report.report import Details
from crystalseg.segmentation.progress import Cancelled, Progress

if TYPE_CHECKING:
    from distributed import Client, Future

IN_FLIGHT = 2  # images handed out per worker at once


def run(
    folder: Path,
    engine: Engine,
    workers: int = 1,
    scheduler: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    last: Callable[[Engine], None] = lambda _: None,
) -> State:
    """Do what is left of the batch in `folder`, and return its state.

    `scheduler` is the address of a Dask cluster; without one, `workers` processes of this machine compute. `say` gets a
    line per image. `last` is called when all images are done. Raises WorkError if the batch is already running. A
    mosaic can also raise NoRoomError, ClusterError and OSError, after which the batch can continue.
    """
    batch = load(folder)
    with working(folder) as reporter:
        done, reasons = settled(engine, batch)
        todo = [k for k in range(len(batch.names)) if k not in done and k not in reasons]
        progress = _BatchProgress(reporter, batch, len(batch.names) - len(todo))
        if todo:
            order = _Measuring(folder, batch, Source(Path(batch.source)), engine, workers, scheduler, say, progress)
            with connected(workers, scheduler) as client:
                flight = _Flight(client, order)
                flight.do(todo, IN_FLIGHT * max(workers, len(client.scheduler_info()["workers"])))
            for k in flight.mosaics:
                if asked(folder):
                    break
                _measure_mosaic(order, k)
        finish(folder, engine)
        if progress.settled == len(batch.names):
            reporter(stage="all images together")
            last(engine)
        else:
            reporter(status=asked(folder) or "paused")
    return progress_of(folder, engine, ended=reporter.state)


class _BatchProgress:
    """Report which images are under way. `settled` is the number of images that are done or failed."""

    def __init__(self, reporter: Reporter, batch: Batch, settled: int) -> None:
        self.reporter, self.batch, self.settled = reporter, batch, settled
        self._under_way: list[int] = []  # in the order of handing out

    def begin(self, k: int) -> None:
        """Note that image `k` was handed out."""
        self._under_way.append(k)
        self._tell()

    def settle(self, k: int) -> None:
        """Note that image `k` is done or failed."""
        self.settled += 1
        self._under_way = [other for other in self._under_way if other != k]
        self._tell()

    def within(self, k: int, progress: Progress) -> None:
        """Report the progress within image `k`, which is measured window by window."""
        share = (self.settled + progress.share) / len(self.batch.names)
        self.reporter(stage=f"{self.batch.shown(k)}: {progress.stage}", share=share)

    def _tell(self) -> None:
        stage = self.batch.shown(self._under_way[0]) if self._under_way else ""
        self.reporter(stage=stage, share=self.settled / len(self.batch.names))


@dataclass(frozen=True)
class _Measuring:
    """The arguments of `run`, with the batch, its source and its progress."""

    folder: Path
    batch: Batch
    source: Source
    engine: Engine
    workers: int
    scheduler: str | None
    say: Callable[[str], None]
    progress: _BatchProgress

    def fail(self, k: int, reason: str) -> None:
        """Record and report that image `k` cannot be measured."""
        name = self.batch.shown(k)
        ledger.append(self.engine, "failure", self.batch.run_id(k), {"name": name, "reason": reason}, once=True)
        self.progress.settle(k)
        self.say(f"{name}: {reason}")

    def told(self, k: int, run: Run) -> None:
        """Report that image `k` was measured."""
        summary = run.summary
        average = f"average {summary.average.value:.4g} {summary.unit}" if summary else "no crystal counted"
        self.progress.settle(k)
        self.say(f"{self.batch.shown(k)}: {average}")


class _Flight:
    """The images that are handed out to the workers. None is handed out after a pause was requested."""

    def __init__(self, client: "Client", order: _Measuring) -> None:
        self.client, self.order = client, order
        settings = order.batch.profile.settings
        self.validation = lookup(order.batch.profile, settings)
        self.model = equip(client, taught(order.engine, settings))
        self.threads = threads_of(order.workers, order.scheduler)
        self.mosaics: list[int] = []  # mosaics among the images, left for later

    def do(self, todo: list[int], ahead: int) -> None:
        """Measure the images with numbers `todo`, with `ahead` of them handed out at a time."""
        from distributed import as_completed

        flight, numbers = as_completed(), {}
        left = iter(todo)

        def hand_out() -> None:
            if asked(self.order.folder):
                return
            for k in left:
                future = self._sent(k)
                if future is not None:
                    numbers[future.key] = k
                    flight.add(future)
                    return

        for _ in range(ahead):
            hand_out()
        for future in flight:
            self._settle(numbers.pop(future.key), future)
            hand_out()

    def _sent(self, k: int) -> "Future | None":
        """Send image `k` to a worker. Return None if it is a mosaic, or if it cannot be read; the reason is then
        recorded."""
        batch = self.order.batch
        try:
            data = batch.read(self.order.source, k)
        except UserError as error:
            self.order.fail(k, str(error))
            return None
        if is_mosaic(data):
            self.mosaics.append(k)
            return None
        if isinstance(data, bytes):
            store.put(data)
        facts = (
            self.order.source.beside(batch.names[k]),
            Path(batch.names[k]).name,
            batch.run_id(k),
            batch.profile,
            batch.calibration,
            self.validation,
            anchor(self.order.engine),
            Details(sample=batch.sample or Path(batch.names[k]).name, customer=batch.customer, operator=batch.operator),
            handouts.default(handouts.BATCH) if batch.formats is None else batch.formats,
        )
        self.order.progress.begin(k)
        return self.client.submit(measure_one, data, *facts, self.threads, self.model, pure=False)

    def _settle(self, k: int, future: "Future") -> None:
        """Write a worker's result for image `k` to files and to the record."""
        error = future.exception()
        if error is not None:
            self.order.fail(k, failure(error))
            return
        made: Described = future.result()
        future.release()
        self.order.told(k, settle(self.order.engine, made, self.order.folder / self.order.batch.stems[k]))


def _measure_mosaic(order: _Measuring, k: int) -> None:
    """Measure mosaic `k` and write its files and its record. A requested pause stops it, and keeps what was found."""
    folder, batch = order.folder, order.batch
    place = mosaic_folder(folder, batch, k)

    def look(progress: Progress) -> None:
        order.progress.within(k, progress)
        if asked(folder):
            raise Cancelled

    try:
        place.mkdir(exist_ok=True)
        source = batch.read(order.source, k)
        if isinstance(source, bytes):
            data, source = source, place / file_names([Path(batch.names[k]).name])[0]
            store.write_safely(source, data)
        results = str((folder / batch.stems[k]).resolve())
        mosaic.prepare(place, source, batch.profile, batch.calibration, batch.operator, batch.run_id(k), results)
        workers = order.workers if order.workers > 1 else 0
        formats = handouts.for_mosaic(batch.formats or ())
        run = mosaic_run.run(place, order.engine, workers, order.scheduler, look, formats)
    except (ClusterError, NoRoomError, OSError):
        raise
    except Exception as error:
        order.fail(k, failure(error))
    else:
        if run is None:
            return
        order.told(k, run)
    shutil.rmtree(place, ignore_errors=True)


def measure_one(
    data: bytes | Path,
    beside: dict[str, bytes],
    name: str,
    run_id: str,
    profile: Profile,
    calibration: Calibration | None,
    validation: Validation | None,
    end: Anchor | None,
    details: Details,
    formats: tuple[str, ...],
    threads: int | None,
    model: str,
) -> Described:
    """Measure an image, given as bytes or as a path, in a worker. Return its run and its files in these `formats`.

    `beside` holds text files of its folder, by name, that may state its pixel size. `end` is the end of the record, for
    reports. `model` is what `equip` returned. Raises MicrographError, which says why the image cannot be measured.
    """
    from crystalseg.execution.one_image import measure_micrograph

    with_threads(threads)
    micrograph = prepared(read_micrograph(data, name, beside=beside.get), calibration)
    result = measure_micrograph(micrograph, profile.settings, models(model))
    ready = documented(result, validation, details, profile, id=run_id)
    return ready.described(formats, end).in_memory
