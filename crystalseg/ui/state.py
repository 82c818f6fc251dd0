"""What a browser session holds, and what all sessions share."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import streamlit as st

from crystalseg.jobs import Queue
from crystalseg.measure.crystals import measure_crystals
from crystalseg.micrograph import MAX_MEGAPIXELS, Micrograph, MicrographError, find_data_bar, read_micrograph
from crystalseg.pipeline import Segmentation, again
from crystalseg.settings import Instances

SAMPLES = Path(__file__).with_name("samples")


@dataclass
class Item:
    """One micrograph of the session. original: as read; bar: first row of the data bar found, or None; exclude_bar and
    region (top, left, bottom, right) or None: what is measured; job: its latest run."""

    original: Micrograph
    bar: int | None
    exclude_bar: bool = True
    region: tuple[int, int, int, int] | None = None
    job: str | None = None

    @property
    def key(self) -> str:
        return f"{self.original.sha256}-{self.original.name}"

    def prepared(self) -> Micrograph:
        """The part of the image that is to be measured; MicrographError if the region is unusable."""
        height, width = self.original.shape
        top, left, bottom, right = self.region or (0, 0, height, width)
        if self.bar is not None and self.exclude_bar:
            bottom = min(bottom, self.bar)
        whole = (top, left, bottom, right) == (0, 0, height, width)
        return self.original if whole else self.original.crop(top, left, bottom, right)

    def calibrate(self, calibration) -> None:
        self.original = replace(self.original, calibration=calibration)


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    return Queue()


def items() -> dict[str, Item]:
    return st.session_state.setdefault("items", {})


def add(data: bytes, name: str) -> str:
    """Read a file into the session; returns its key. A file that is already there is left as it is."""
    limit = float(os.environ.get("CRYSTALSEG_MAX_MEGAPIXELS") or MAX_MEGAPIXELS)
    micrograph = read_micrograph(data, name, limit)
    item = Item(micrograph, find_data_bar(micrograph.pixels))
    items().setdefault(item.key, item)
    return item.key


def add_uploads(uploads: list) -> list[str]:
    """Read new uploads; returns one sentence for each that cannot be used. Files removed by the user are forgotten."""
    seen: dict[str, str] = st.session_state.setdefault("uploads", {})
    for gone in set(seen) - {u.file_id for u in uploads}:
        items().pop(seen.pop(gone), None)
    problems = []
    for upload in uploads:
        if upload.file_id in seen:
            if seen[upload.file_id] not in items():
                problems.append(seen[upload.file_id])
            continue
        try:
            seen[upload.file_id] = st.session_state["current"] = add(upload.getvalue(), upload.name)
        except MicrographError as error:
            seen[upload.file_id] = str(error)
            problems.append(str(error))
    return problems


def sample_files() -> dict[str, Path]:
    """Shipped sample micrographs: a title and the file."""
    return {path.stem.replace("-", " "): path for path in sorted(SAMPLES.glob("*.png"))}


def current() -> Item | None:
    """The micrograph being worked on."""
    held = items()
    if st.session_state.get("current") not in held:
        st.session_state["current"] = next(iter(held), None)
    return held.get(st.session_state["current"])


@st.cache_resource(max_entries=4, show_spinner=False)
def result(job: str) -> tuple[Micrograph, Segmentation] | None:
    """A finished job's micrograph and segmentation, shared by all sessions: do not change the arrays."""
    return queue().result(job)


@st.cache_resource(max_entries=8, show_spinner=False)
def with_instances(job: str, choice: Instances) -> Segmentation:
    """The job's segmentation with these thresholds, from the kept maps."""
    found = result(job)[1]
    return found if found.settings.instances == choice else again(found, choice)


@st.cache_resource(max_entries=16, show_spinner=False)
def table(job: str, choice: Instances, um_per_px: float | None) -> pd.DataFrame:
    found = with_instances(job, choice)
    return measure_crystals(found.labels, um_per_px, found.confidence)


def digest(*parts: object) -> str:
    """A short key for caches."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
