"""Decode uploads in a separate process, so that a decoder that crashes, hangs or uses too much memory harms nothing
else."""

import os
import socket
import subprocess
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any, cast

from crystalseg import environment, places
from crystalseg.errors import UserError
from crystalseg.micrographs.decoding import read_micrograph
from crystalseg.micrographs.headers import sidecar_names
from crystalseg.micrographs.label_images import LabelImage, label_image
from crystalseg.micrographs.micrograph import Micrograph, MicrographError
from crystalseg.micrographs.names import visible

LONGEST = 120.0  # s per file
MOST_MEMORY = 3 * 2**30  # bytes that the process may allocate, where the system can limit it


class Decoder:
    """A decoding process. It starts with the first file, and again after a file that it did not survive. Threads may
    share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._pipe: Connection | None = None

    def read(
        self,
        data: bytes,
        name: str,
        max_megapixels: float | None = None,
        channel: int | None = None,
        beside: Mapping[str, bytes] | None = None,
    ) -> Micrograph:
        """Do what `read_micrograph` does. `beside`: the text files that were given with the image, by name. Raises
        MicrographError also if the decoder dies or takes too long."""
        limit = environment.max_megapixels() if max_megapixels is None else max_megapixels
        texts = {"beside": {other: beside[other] for other in sidecar_names(name) if other in beside}} if beside else {}
        return cast(Micrograph, self._answer(data, name, {"max_megapixels": limit, "channel": channel} | texts))

    def read_labels(self, data: bytes, name: str, negative: bool = False) -> LabelImage:
        """Do what `label_image` does. Raises MicrographError as `read` does."""
        return cast(LabelImage, self._answer(data, name, {"negative": negative}))

    def _answer(self, data: bytes, name: str, options: dict[str, Any]) -> Micrograph | LabelImage:
        with self._lock:
            try:
                answer = self._asked(data, name, options)
            except (EOFError, OSError):
                self._kill()
                raise MicrographError(
                    f"{visible(name)}: it could not be read to its end. The file is damaged. Export it again."
                ) from None
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _asked(self, data: bytes, name: str, options: dict[str, Any]) -> Micrograph | LabelImage | UserError:
        if self._process is None or self._pipe is None or self._process.poll() is not None:
            self._kill()
            self._pipe, self._process = _started()
        self._pipe.send((name, options))
        self._pipe.send_bytes(data)
        if not self._pipe.poll(LONGEST):
            self._kill()
            return MicrographError(
                f"{visible(name)}: reading it took over {LONGEST:.0f} s. The file is damaged. Export it again."
            )
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
    """Start the process, and return this end of its connection. `multiprocessing` is not used, because it would run the
    page that Streamlit has put in place of the main module."""
    here, there = socket.socketpair()
    with there:
        process = places.start("decoder", str(there.fileno()), pass_fds=(there.fileno(),))
    return Connection(here.detach()), process


def serve(line: int) -> None:
    """Read files in the decoding process until the other end closes. `line` is the file descriptor of the
    connection."""
    pipe = Connection(line)
    _limit_memory()
    while True:
        try:
            name, options = pipe.recv()
            data = pipe.recv_bytes()
        except EOFError:
            return
        answer: Micrograph | LabelImage | UserError
        try:
            if "beside" in options:
                options["beside"] = options["beside"].get
            answer = (label_image if "negative" in options else read_micrograph)(data, name, **options)
        except UserError as error:
            answer = error
        except MemoryError:
            answer = MicrographError(f"{visible(name)}: too large for the memory of one file here. Crop it.")
        pipe.send(answer)


def _limit_memory() -> None:
    if os.name == "posix":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = MOST_MEMORY if most == resource.RLIM_INFINITY else min(MOST_MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))
