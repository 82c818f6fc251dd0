"""Workers of a Dask cluster: processes of this machine, or those of a scheduler at an address."""

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
AHEAD = 2  # tasks handed out per worker at once
PATIENCE = 60.0  # s without a worker before giving up
MOST_LOADED = 4  # taught models whose networks a process keeps in memory
MOST_BROUGHT = 16  # taught models whose weights a process keeps in memory, to load them again


class ClusterError(UserError):
    """The cluster does not answer. The message is one sentence for the user."""


def connected(workers: int, scheduler: str | None) -> "Client":
    """Return a client of the cluster at `scheduler`, or of `workers` new processes of this machine, which end with the
    client. Raises ClusterError if no scheduler answers."""
    from distributed import Client

    if scheduler is None:
        # A cluster made beforehand and passed to the client would outlive it.
        return Client(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50)
    try:
        return Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise ClusterError(f"No Dask scheduler answers at {scheduler}. Start it, or correct the address.") from error


def threads_of(workers: int, scheduler: str | None) -> int | None:
    """Return the number of threads for each of the `workers` of this machine, or None for a cluster, whose workers keep
    their own setting."""
    return max(1, (os.cpu_count() or 1) // workers) if scheduler is None else None


_brought: dict[str, "Taught"] = {}  # the last MOST_BROUGHT models brought to this process, by the hash of their weights


def equip(client: "Client", taught: "Taught | None") -> str:
    """Give all workers a model, including workers that join later. Return the key by which `models` finds it, or "" if
    the shipped weights are enough."""
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
    """Hold a model in this process, which computes. Return the key by which `models` finds it, or "" if there is no
    model."""
    if model is None:
        return ""
    _brought.pop(model.sha256, None)
    _brought[model.sha256] = model
    for oldest in list(_brought)[:-MOST_BROUGHT]:
        _brought.pop(oldest, None)
    return model.sha256


def models(taught: str = "") -> "Models":
    """Return the networks of this process, which computes. With a hash, include the model that `bring` holds."""
    return _with_taught(taught) if taught else _shipped()


@functools.cache
def _shipped() -> "Models":
    from crystalseg.segmentation.models import load_models

    return load_models()


@functools.lru_cache(MOST_LOADED)
def _with_taught(taught: str) -> "Models":
    from crystalseg.segmentation.models import with_taught

    return with_taught(_shipped(), _brought[taught])


def with_threads(threads: int | None) -> None:
    """Set the number of threads of a worker's networks, if a number is given."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


class OnCluster:
    """mosaic.Compute on a cluster, whose workers must have the same weights. `network` is the architecture of the
    settings' flow network; `taught` is what `equip` returned."""

    def __init__(self, client: "Client", network: str, threads: int | None = None, taught: str = ""):
        self._client, self._how = client, (network, threads, taught)

    def tiles(self, stacks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return self._in_order(_maps, ((stack, *self._how) for stack in stacks))

    def windows(self, tasks: Iterable[Task], choices: Sequence[Instances]) -> Iterator[list[WindowProposals]]:
        return self._in_order(_found, ((task, list(choices), *self._how) for task in tasks))

    def _in_order(self, function: Callable, orders: Iterable[tuple]) -> Iterator[Any]:
        """Yield the workers' results in the order of the tasks. If a worker dies, another one does its task."""
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
    """Return the result of a task, or raise its error. `look` is called every `every` seconds meanwhile. Raises
    ClusterError if no worker is left to do it, or the scheduler is gone."""
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
                    "All workers of the cluster have died. What they did is kept. Start workers and go on."
                ) from None
        except KilledWorker as error:
            raise ClusterError(
                "Several workers died one after another, perhaps for lack of memory. What they did is kept. "
                "Give them more memory and go on."
            ) from error
        except (FutureCancelledError, OSError) as error:
            raise ClusterError(
                "The scheduler of the cluster no longer answers. What was done is kept. Start it again and go on."
            ) from error


def measured_elsewhere(
    client: "Client",
    micrograph: Micrograph,
    settings: Settings,
    progress: Callable[[Progress], None],
    taught: str = "",
) -> Result:
    """Do what `measure_micrograph` does in a worker of the cluster. `taught` is what `equip` returned.

    `progress` is called twice a second. It may raise `Cancelled` here, which also stops the worker.
    """
    return elsewhere(client, _measured, (micrograph, settings, taught), progress)


def elsewhere(
    client: "Client", function: Callable[..., R], arguments: tuple, progress: Callable[[Progress], None]
) -> R:
    """Call `function(*arguments, tell)` in a worker of the cluster. The function reports its progress by `tell`.

    `progress` is called with it twice a second. If it raises `Cancelled` here, `tell` raises `Cancelled` in the worker.
    """
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
    """Call the function in a worker. Its progress goes to the client as events called `name`; an Event of that name
    stops it."""
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
    """Measure a run in a worker."""
    from crystalseg.execution.one_image import measure_micrograph

    return measure_micrograph(micrograph, settings, models(taught), tell)


@functools.lru_cache(1 + MOST_LOADED)
def _pyramid(taught: str) -> "Pyramid":
    from crystalseg.segmentation.pyramid import Pyramid

    # Only the networks and the device are used; each tile brings its pixels.
    return Pyramid(models(taught), np.zeros((32, 32, 3), np.uint8))


def _maps(stack: np.ndarray, network: str, threads: int | None, taught: str) -> np.ndarray:
    """Do mosaic.Compute.tiles for one batch of tiles, in a worker."""
    with_threads(threads)
    return _pyramid(taught).maps(network, stack)


def _found(
    task: Task, choices: Sequence[Instances], network: str, threads: int | None, taught: str
) -> list[WindowProposals]:
    """Do mosaic.Compute.windows for one window, in a worker."""
    with_threads(threads)
    judge = models(taught).judge(Settings(network=network))
    return [find(task, choice, judge) for choice in choices]
