"""Workers of a Dask cluster: processes of this machine, or a scheduler by its address."""

import functools
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from crystalseg.errors import UserError
from crystalseg.execution.result import Result
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.progress import Cancelled, Progress
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.segmentation.windows import Task, WindowProposals, find

if TYPE_CHECKING:
    from distributed import Client, Future

    from crystalseg.segmentation.models import Models, Taught
    from crystalseg.segmentation.pyramid import Pyramid

R = TypeVar("R")
AHEAD = 2  # orders handed out, a worker
PATIENCE = 60.0  # s without a worker after which none is expected any more


class ClusterError(UserError):
    """A cluster that does not answer; the message is one sentence for the user."""


def connected(workers: int, scheduler: str | None) -> "Client":
    """A client of the cluster at the address `scheduler`, else of `workers` processes of this machine, which end when
    it is closed."""
    from distributed import Client

    if scheduler is None:
        # a cluster made beforehand and handed over would outlast its client
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50)
    try:
        return Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise ClusterError(f"No Dask scheduler answers at {scheduler}.") from error


def threads_of(workers: int, scheduler: str | None) -> int | None:
    """Threads for each of the `workers` of this machine; None leaves a cluster's workers as they are."""
    return max(1, (os.cpu_count() or 1) // workers) if scheduler is None else None


_brought: dict[str, "Taught"] = {}  # models at hand in this process, by the hash of their weights


def equip(client: "Client", taught: "Taught | None") -> str:
    """See that all workers, also those that come later, have a model; returns by what `models` finds it, "" if the
    shipped weights do."""
    if taught is None:
        return ""
    from distributed import WorkerPlugin

    class Bringing(WorkerPlugin):
        def __init__(self, model: "Taught") -> None:
            self.model = model

        def setup(self, worker: Any) -> None:
            bring(self.model)

    client.register_plugin(Bringing(taught), name=f"model {taught.sha256}")
    return taught.sha256


def bring(model: "Taught | None") -> str:
    """In a process that computes: have a model at hand; returns by what `models` finds it, "" if there is none."""
    if model is None:
        return ""
    _brought[model.sha256] = model
    return model.sha256


@functools.cache
def models(taught: str = "") -> "Models":
    """In a process that computes: its networks, with that of a model at hand if its hash is given."""
    from crystalseg.segmentation.models import load_models, with_taught

    return with_taught(models(), _brought[taught]) if taught else load_models()


def with_threads(threads: int | None) -> None:
    """In a worker: so many threads for its networks, if a number is given."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


class OnCluster:
    """mosaic.Compute on a cluster, whose workers must have the same weights. network: architecture of the settings'
    flow network; taught: as `equip` returns it."""

    def __init__(self, client: "Client", network: str, threads: int | None = None, taught: str = ""):
        self._client, self._how = client, (network, threads, taught)

    def tiles(self, stacks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._in_order(_maps, ((stack, *self._how) for stack in stacks))

    def windows(self, tasks: Iterable[Task], choices: Sequence[Instances]) -> Iterator[list[WindowProposals]]:
        return self._in_order(_found, ((task, list(choices), *self._how) for task in tasks))

    def _in_order(self, function: Callable, orders: Iterable[tuple]) -> Iterator[Any]:
        """What workers make of the orders, as these come; a worker that dies is replaced by another."""
        ahead = AHEAD * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
        flight: deque[Future] = deque()
        for order in orders:
            flight.append(self._client.submit(function, *order, pure=False))
            if len(flight) > ahead:
                yield self._result(flight.popleft())
        while flight:
            yield self._result(flight.popleft())

    def _result(self, future: "Future") -> Any:
        return awaited(self._client, future)


def awaited(client: "Client", future: "Future", look: Callable[[], None] = lambda: None, every: float = 5.0) -> Any:
    """The result of what a worker does, or its error; `look` is called meanwhile, `every` so many seconds. ClusterError
    if no worker is left that could do it."""
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    alone = time.monotonic()
    while True:
        look()
        try:
            return future.result(timeout=every)
        except TimeoutError:
            if client.scheduler_info(n_workers=-1)["workers"]:
                alone = time.monotonic()
            elif time.monotonic() - alone > PATIENCE:
                raise ClusterError(
                    "All workers of the cluster have died; what they did is kept: start workers and go on."
                ) from None
        except KilledWorker as error:
            raise ClusterError(
                "Several workers died one after another, perhaps for lack of memory; what they did is kept: "
                "give them more memory and go on."
            ) from error
        except (FutureCancelledError, OSError) as error:
            raise ClusterError(
                "The scheduler of the cluster has gone; what was done is kept: start it again and go on."
            ) from error


def measured_elsewhere(
    client: "Client",
    micrograph: Micrograph,
    settings: Settings,
    progress: Callable[[Progress], None],
    taught: str = "",
) -> Result:
    """`measure_micrograph` by a worker of the cluster; `taught`: as `equip` returns it. `progress` hears of it twice a
    second, and may raise `Cancelled` here: the worker then stops too."""
    return elsewhere(client, _measured, (micrograph, settings, taught), progress)


def elsewhere(
    client: "Client", function: Callable[..., R], arguments: tuple, progress: Callable[[Progress], None]
) -> R:
    """`function(*arguments, tell)` by a worker of the cluster, which tells how far it is. `progress` hears of it twice
    a second, and may raise `Cancelled` here: `tell` then does there."""
    from distributed import Event

    name = uuid.uuid4().hex
    stop = Event(name, client)
    future = client.submit(_told, function, arguments, name, pure=False)

    def look() -> None:
        told = client.get_events(name)
        if told:
            progress(Progress(*told[-1][1]))

    try:
        return awaited(client, future, look, 0.5)
    except Cancelled:
        stop.set()
        raise


def _told(function: Callable[..., R], arguments: tuple, name: str) -> R:
    """In a worker: what the client hears of by events called `name`, and an Event of that name stops."""
    from distributed import Event, get_client, get_worker

    worker, stop, last = get_worker(), Event(name, get_client()), 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < 0.5:
            return
        last = time.monotonic()
        worker.log_event(name, astuple(progress))
        if stop.is_set():
            raise Cancelled

    return function(*arguments, tell)


def _measured(micrograph: Micrograph, settings: Settings, taught: str, tell: Callable[[Progress], None]) -> Result:
    """In a worker: a run."""
    from crystalseg.execution.one_image import measure_micrograph

    return measure_micrograph(micrograph, settings, models(taught), tell)


@functools.cache
def _pyramid(taught: str) -> "Pyramid":
    from crystalseg.segmentation.pyramid import Pyramid

    # networks and device only; tiles bring their pixels
    return Pyramid(models(taught), np.zeros((32, 32, 3), np.uint8))


def _maps(stack: np.ndarray, network: str, threads: int | None, taught: str) -> np.ndarray:
    """In a worker: mosaic.Compute.tiles of one batch."""
    with_threads(threads)
    return _pyramid(taught).maps(network, stack)


def _found(
    task: Task, choices: Sequence[Instances], network: str, threads: int | None, taught: str
) -> list[WindowProposals]:
    """In a worker: mosaic.Compute.windows of one window."""
    with_threads(threads)
    judge = models(taught).judge(Settings(network=network))
    return [find(task, choice, judge) for choice in choices]
