"""Uploads are decoded in a process of their own: a decoder that dies, hangs or eats memory takes nobody with it."""

import os
import socket
import subprocess
import threading
from multiprocessing.connection import Connection
from typing import cast

from crystalseg import environment, places
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.label_images import LabelImage, label_image
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import visible

LONGEST = 120.0  # s for one file
MOST_MEMORY = 3 * 2**30  # bytes the process may allocate, where the system can see to it


class Decoder:
    """One process, begun with the first file and again after one that it did not survive. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._pipe: Connection | None = None

    def read(
        self, data: bytes, name: str, max_megapixels: float | None = None, channel: int | None = None
    ) -> Micrograph:
        """As `read_micrograph`; MicrographError also says if its decoder died or took too long."""
        limit = environment.max_megapixels() if max_megapixels is None else max_megapixels
        return cast(Micrograph, self._answer(data, name, limit, channel))

    def read_labels(self, data: bytes, name: str) -> LabelImage:
        """As `label_image`; MicrographError as for `read`."""
        return cast(LabelImage, self._answer(data, name, None, None))

    def _answer(self, data: bytes, name: str, limit: float | None, channel: int | None) -> Micrograph | LabelImage:
        with self._lock:
            try:
                answer = self._asked(data, name, limit, channel)
            except (EOFError, OSError):
                self._kill()
                raise MicrographError(f"{visible(name)}: reading it failed half-way; the file is damaged.") from None
        if isinstance(answer, MicrographError):
            raise answer
        return answer

    def _asked(
        self, data: bytes, name: str, max_megapixels: float | None, channel: int | None
    ) -> Micrograph | LabelImage | MicrographError:
        if self._process is None or self._pipe is None or self._process.poll() is not None:
            self._kill()
            self._pipe, self._process = _started()
        self._pipe.send((name, max_megapixels, channel))
        self._pipe.send_bytes(data)
        if not self._pipe.poll(LONGEST):
            self._kill()
            return MicrographError(f"{visible(name)}: reading it took over {LONGEST:.0f} s; the file is damaged.")
        return self._pipe.recv()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    close = _kill


def _started() -> tuple[Connection, subprocess.Popen]:
    """The process, and this side of the line to it. Not of `multiprocessing`, which would have it run the page that
    Streamlit has put in the main module's place."""
    here, there = socket.socketpair()
    with there:
        process = places.start("decoder", str(there.fileno()), pass_fds=(there.fileno(),))
    return Connection(here.detach()), process


def serve(line: int) -> None:
    """The process: reads files that come by a line, a file descriptor, until nobody asks any more."""
    pipe = Connection(line)
    _limit_memory()
    while True:
        try:
            name, max_megapixels, channel = pipe.recv()
            data = pipe.recv_bytes()
        except EOFError:
            return
        answer: Micrograph | LabelImage | MicrographError
        try:
            # what has no limit of megapixels is a label image
            if max_megapixels is None:
                answer = label_image(data, name)
            else:
                answer = read_micrograph(data, name, max_megapixels, channel=channel)
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
