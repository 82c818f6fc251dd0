"""Uploads are decoded in a process of their own: a decoder that dies, hangs or eats memory takes nobody with it."""

import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from crystalseg.micrographs.decoding import MAX_MEGAPIXELS, read_micrograph
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import visible

LONGEST = 120.0  # s for one file
MOST_MEMORY = 3 * 2**30  # bytes the process may allocate, where the system can see to it


class Decoder:
    """One process, begun with the first file and again after one that it did not survive. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def read(self, data: bytes, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> Micrograph:
        """As `read_micrograph`; MicrographError also says if its decoder died or took too long."""
        with self._lock:
            try:
                answer = self._asked(data, name, max_megapixels)
            except (EOFError, OSError):
                self._kill()
                raise MicrographError(f"{visible(name)}: reading it failed half-way; the file is damaged.") from None
        if isinstance(answer, MicrographError):
            raise answer
        return answer

    def _asked(self, data: bytes, name: str, max_megapixels: float) -> "Micrograph | MicrographError":
        if self._process is None or self._pipe is None or not self._process.is_alive():
            self._kill()
            context = multiprocessing.get_context("spawn")  # of a process with threads no copy is made
            self._pipe, other = context.Pipe()
            self._process = context.Process(target=_serve, args=(other,), daemon=True)
            self._process.start()
            other.close()
        self._pipe.send((name, max_megapixels))
        self._pipe.send_bytes(data)
        if not self._pipe.poll(LONGEST):
            self._kill()
            return MicrographError(f"{visible(name)}: reading it took over {LONGEST:.0f} s; the file is damaged.")
        return self._pipe.recv()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    close = _kill


def _serve(pipe: Connection) -> None:
    """The process: reads files until nobody asks any more."""
    _limit_memory()
    while True:
        try:
            name, max_megapixels = pipe.recv()
            data = pipe.recv_bytes()
        except EOFError:
            return
        answer: Micrograph | MicrographError
        try:
            answer = read_micrograph(data, name, max_megapixels)
        except MicrographError as error:
            answer = error
        except MemoryError:
            answer = MicrographError(f"{visible(name)}: too large to be read here; crop it.")
        pipe.send(answer)


def _limit_memory() -> None:
    if os.name == "posix":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = MOST_MEMORY if most == resource.RLIM_INFINITY else min(MOST_MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))
