"""The state of a browser session: its micrographs, and the choices on the pages."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from crystalseg.errors import UserError
from crystalseg.execution.queue import Job
from crystalseg.measurement.query import QueryError, parse
from crystalseg.micrographs import examples
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.decoding import TooLargeError
from crystalseg.micrographs.headers import LONGEST, SIDECARS, sidecar_names
from crystalseg.micrographs.inscriptions import find_data_bar
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.names import visible
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile, profiles
from crystalseg.record.reopening import whole_image
from crystalseg.record.runs import Run
from crystalseg.record.runs import find as find_run
from crystalseg.segmentation.settings import Instances, Measuring, Settings
from crystalseg.ui import account, address, shared
from crystalseg.ui.choices import choices
from crystalseg.ui.drafts import SettingsDraft
from crystalseg.ui.plain import plain
from crystalseg.ui.shared import engine, first_job, queue


@dataclass
class Item:
    """One micrograph of the session. original: as read; bar: first row of the data bar, or None; exclude_bar, region
    (top, left, bottom, right) or None: define the part to measure; job: the run shown; runs: the latest run of each
    method; opener: whether it is the example shown before the user chooses anything; places: where the user went in a
    result, by name, with that result; by_hand: the pixel size that the user entered last; stated: the one that held
    before the user entered any."""

    original: Micrograph
    bar: int | None
    exclude_bar: bool = True
    region: tuple[int, int, int, int] | None = None
    job: str | None = None
    runs: dict[str, str] = field(default_factory=dict)
    opener: bool = False
    places: dict[str, tuple[object, Any]] = field(default_factory=dict)
    by_hand: Calibration | None = None
    stated: Calibration | None = None

    @property
    def key(self) -> str:
        return f"{self.original.sha256}-{self.original.name}"

    def prepared(self) -> Micrograph:
        """Return the part of the image to measure. Raises MicrographError if the region is unusable."""
        height, width = self.original.shape
        top, left, bottom, right = self.region or (0, 0, height, width)
        if self.bar is not None and self.exclude_bar:
            bottom = min(bottom, self.bar)
        whole = (top, left, bottom, right) == (0, 0, height, width)
        return self.original if whole else self.original.crop(top, left, bottom, right)

    def choose_channel(self, channel: int) -> None:
        """Take another channel of the file, of which nothing was measured yet; MicrographError if there is none."""
        read = shared.decoder().read(store.get(self.original.sha256), self.original.name, channel=channel)
        self.original = replace(read, calibration=self.original.calibration)
        self.bar, self.job, self.runs = find_data_bar(read.pixels), None, {}

    def calibrate(self, calibration: Calibration) -> None:
        """Set another pixel size."""
        self.original = replace(self.original, calibration=calibration)

    def entered(self, calibration: Calibration | None) -> bool:
        """Take over the pixel size that the form shows now, None for an empty form, which gives way to the one before
        any was entered. Returns whether the pixel size changed."""
        if calibration == self.by_hand:
            return False
        if self.by_hand is None:
            self.stated = self.original.calibration
        self.by_hand = calibration
        before, after = self.original.calibration, calibration or self.stated
        self.original = replace(self.original, calibration=after)
        return before != after

    def shown(self) -> Job | None:
        """Return the job of the run shown."""
        return queue().job(self.job) if self.job else None

    def measured(self) -> Micrograph:
        """Return the part of the image that the shown run measured, with the current pixel size."""
        return replace(shared.finished(self.job or "")[0], calibration=self.original.calibration)

    def go_to(self, name: str, result: object, place: Any) -> None:
        """Note that the user went to a place in one of its results."""
        self.places[name] = result, place

    def place(self, name: str, result: object) -> Any:
        """Return the place where the user went in this result, or None."""
        where, place = self.places.get(name, (None, None))
        return place if where == result else None

    def run(self, micrograph: Micrograph, settings: Settings, name: str = "") -> str:
        """Queue a run and return its job. It is also stored under `name`, or the name of its method."""
        job = queue().submit(micrograph, settings, who=who(), asker=asker())
        self.runs[name or settings.short_method] = job
        return job


def items() -> dict[str, Item]:
    """Return the micrographs of the session, by key."""
    return st.session_state.setdefault("items", {})


def add(data: bytes, name: str, beside: Mapping[str, bytes] | None = None) -> str:
    """Read a file into the session and return its key. A file that is already there stays unchanged, but takes a pixel
    size if it has none. `beside`: the text files that were given with it, by name."""
    micrograph = shared.decoder().read(data, name, beside=beside)
    store.put(data)
    item = Item(micrograph, find_data_bar(micrograph.pixels))
    forget_openers()
    held = items().setdefault(item.key, item)
    if held.original.calibration is None and micrograph.calibration is not None:
        held.calibrate(micrograph.calibration)
    return item.key


def forget_openers() -> None:
    """Remove the initial example when the user chooses something."""
    for key in [key for key, other in items().items() if other.opener]:
        del items()[key]


def add_uploads(uploads: list) -> list[str]:
    """Read new uploads. Returns one sentence for each upload that cannot be used.

    The session keeps the micrographs, because the uploader forgets its files when another page is opened.
    """
    seen: dict[str, str] = st.session_state.setdefault("uploads", {})
    texts = {upload.name: upload for upload in uploads if upload.name.lower().endswith(SIDECARS)}
    images = [upload for upload in uploads if upload.name not in texts]
    problems = [
        f"{visible(name)}: no image of this name was given, so its text is not used. Give both."
        for name in texts
        if not any(name in sidecar_names(image.name) for image in images)
    ]
    for upload in images:
        own = texts_of(upload, texts.values())
        # A text that comes later may state the pixel size of an image that is there already.
        if upload.file_id in seen and all(text.file_id in seen for text in own):
            problems.append(seen[upload.file_id])
            continue
        seen |= {text.file_id: "" for text in own}
        try:
            beside = {text.name: text.getvalue() for text in own if text.size <= LONGEST}
            st.session_state["current"] = add(upload.getvalue(), upload.name, beside)
            seen[upload.file_id] = ""
        except TooLargeError:
            add_large_upload(upload, own)
            seen[upload.file_id] = ""
        except UserError as error:
            seen[upload.file_id] = str(error)
            problems.append(str(error))
    return [problem for problem in problems if problem]


def texts_of(image: UploadedFile, texts: Iterable[UploadedFile]) -> list[UploadedFile]:
    """Return those of the text files that may state the pixel size of an image."""
    return [text for text in texts if text.name in sidecar_names(image.name)]


def large_uploads() -> dict[str, list[UploadedFile]]:
    """Return uploads to be measured in windows, each with the text files beside it, by the uploader's id, until
    somebody starts or rejects that."""
    return st.session_state.setdefault("large uploads", {})


def add_large_upload(upload: UploadedFile, texts: Sequence[UploadedFile] = ()) -> None:
    """Add an upload to be measured in windows, unless it was given before."""
    given: set[str] = st.session_state.setdefault("large uploads given", set())
    if upload.file_id not in given:
        given.add(upload.file_id)
        large_uploads()[upload.file_id] = [upload, *texts]


def forget_large_upload() -> None:
    """Forget the first of them, which was started or rejected."""
    for first in list(large_uploads())[:1]:
        del large_uploads()[first]


def remove(key: str) -> None:
    """Remove a micrograph from the session; its runs stay on record."""
    items().pop(key, None)


def current() -> Item:
    """Return the current micrograph. Without one, an example is loaded, so that nobody sees an empty page."""
    held = items()
    if not held:
        _first_example()
    if st.session_state.get("current") not in held:
        st.session_state["current"] = next(iter(held), None)
    note()
    return held[st.session_state["current"]]


def note() -> None:
    """Let the address of the page name the current micrograph and its run."""
    item = items().get(st.session_state.get("current", ""))
    if item is None or item.opener:
        address.write(None)
    else:
        address.write(address.Shown(item.original.sha256, item.original.name, item.job or ""))


def restore() -> None:
    """Take up what the address of the page names, if the session has just begun: after a reload, or in another tab."""
    asked = None if "restored" in st.session_state else address.read()
    st.session_state["restored"] = True
    if asked is None or items() or not account.person().may("operator"):
        return
    try:
        if ledger.entries(engine(), "run", asked.run):
            take_up(find_run(engine(), asked.run))
        else:
            st.session_state["current"] = add(store.get(asked.image), asked.name)
            if (job := queue().job(asked.run)) is not None and job.name == visible(asked.name):
                items()[st.session_state["current"]].job = job.id
    except UserError as error:
        st.toast(f"What the address names cannot be shown again. {plain(error)}", icon=":material/link_off:")


def _first_example() -> None:
    """Load the initial example with its result."""
    micrograph = examples.first()
    job = first_job()
    item = Item(micrograph, find_data_bar(micrograph.pixels), job=job, opener=True)
    item.runs[Settings().method] = job
    items()[item.key] = item


def take_up(run: Run) -> Item:
    """Continue with a run on record: its image, pixel size, region, settings and corrections. Raises StoreError if its
    image is not in the store."""
    whole = whole_image(run)
    item = Item(whole, find_data_bar(whole.pixels))
    height, width = whole.shape
    item.exclude_bar = item.bar is not None and run.region is not None and run.region[2] <= item.bar
    if run.region and run.region != (0, 0, item.bar if item.exclude_bar else height, width):
        item.region = run.region
    job = run.job or run.id
    settings = find_run(engine(), job).chosen
    queue().bring_back(job, whole.crop(*run.region) if run.region else whole, settings)
    item.job = job
    item.runs[settings.short_method] = job
    forget_openers()
    items()[item.key] = item
    st.session_state["current"] = item.key
    held = choices()
    held.fields["profile product"] = None
    held.fields["profile"] = run.profile if run.profile in profiles(engine()) else None
    held.settings.start(run.chosen)
    return item


def instances() -> Instances:
    """Return the current thresholds, from any page."""
    return choices().settings.instances()


def measuring() -> Measuring:
    """Return the current border rule and selection, from any page, for the current micrograph."""
    return measuring_of(choices().settings, current())


def measuring_of(draft: SettingsDraft, item: Item | None) -> Measuring:
    """Return border rule and selection. The selection is left out if it cannot be read, or needs a pixel size that the
    image does not have (`settings_controls.choose_measuring` tells the user)."""
    if selection_problem(draft.shown("only"), item):
        return Measuring(draft.shown("border rule"))
    return draft.measuring()


def selection_problem(only: str, item: Item | None) -> str:
    """Return what is wrong with a selection for an image, in a sentence, or "" if nothing is known to be wrong."""
    try:
        needs_um = parse(only).needs_pixel_size
    except QueryError as error:
        return str(error)
    if needs_um and item and not item.original.um_per_px:
        return "A selection in µm needs a pixel size. Enter one for this image, or select in px."
    return ""


def enter(role: str = "operator") -> None:
    """End the page for people who may not do what needs `role`. Every page calls this first.

    It also ensures that the page has its navigation. If its address is the first that a new server gets, Streamlit runs
    the page's file alone, without app.py; app.py then continues to it.
    """
    if not st.session_state.get("entered"):
        st.session_state["asked for"] = (st.context.url or "").rpartition("/")[2]
        st.switch_page("app.py")
    account.require(role)


def asker() -> str:
    """Return the party that takes turns in the queue: the person signed in, else this browser session."""
    return account.person().identity or st.session_state.setdefault("asker", uuid.uuid4().hex)


def who() -> str:
    """Return the name for the record: the person signed in, or the name that the user gave."""
    return str(account.person())


def profile() -> Profile | None:
    """Return the current profile, or None."""
    return profiles(engine()).get(choices().fields.get("profile") or "")
