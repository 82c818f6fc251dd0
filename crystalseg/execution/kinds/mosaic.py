"""A mosaic: one image of hundreds of megapixels, measured window by window.

`mosaic.json` holds the request; `mosaic_run` carries it out.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from crystalseg.execution.work import Kind, Work, check_same_request
from crystalseg.execution.work_state import order_in
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import visible
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run

WINDOWS = "windows"  # folder of the windows' results until all is done; it holds parts of the image


@dataclass(frozen=True)
class Mosaic:
    """The request to measure a mosaic.

    id: The id of its run.
    source: A file or an OME-Zarr folder.
    calibration: The pixel size, or None if the image states its own or has none.
    operator: The person who requested it, or "".
    results: What the paths of its files begin with. "" means its folder and the name of the image.
    sha256: The hash of the image, once it was read.
    weights: The hashes of the weights used, by name, once the image was read.
    """

    id: str
    source: str
    profile: Profile
    calibration: Calibration | None
    operator: str
    results: str = ""
    sha256: str = ""
    weights: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is, in words, for people."""
        return f"{visible(Path(self.source).name)}, profile {self.profile.name}"

    def save(self, folder: Path) -> None:
        """Write it to its folder."""
        facts = asdict(self) | {"profile": json.loads(self.profile.to_json())}
        store.write_safely(folder / "mosaic.json", json.dumps(facts, indent=1).encode())


def prepare(
    folder: Path,
    source: Path,
    profile: Profile,
    calibration: Calibration | None = None,
    operator: str = "",
    id: str = "",
    results: str = "",
) -> Mosaic:
    """Return the mosaic in `folder`, or make a new one, whose run gets the `id` if one is given and whose files are
    named as `Mosaic.results` says. Raises WorkError if the folder holds another mosaic."""
    where = str(source.resolve())
    if (folder / "mosaic.json").exists():
        begun = load(folder)
        check_same_request(folder, begun, source, profile, calibration)
        return begun
    mosaic = Mosaic(id or uuid.uuid4().hex[:12], where, profile, calibration, operator, results)
    mosaic.save(folder)
    return mosaic


def load(folder: Path) -> Mosaic:
    """Return the mosaic in `folder`. Raises WorkError if there is none."""
    return order_in(folder / "mosaic.json", "mosaic", _mosaic)


def _mosaic(facts: dict[str, Any]) -> Mosaic:
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    return Mosaic(**facts | {"profile": Profile.from_dict(facts["profile"]), "calibration": calibration})


class MosaicKind(Kind):
    """One image that is too large to be measured at once."""

    name = "mosaic"
    place = "mosaics"
    files = ("mosaic.json",)
    parts = "tiles"
    takes_a_file = True
    least_workers = 0  # its own process alone, with all cores

    def asked(self, folder: Path) -> Mosaic:
        return load(folder)

    def carry_out(
        self, work: Work, engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        from crystalseg.execution import mosaic_run  # loads torch, which pages that only show results do not need

        mosaic_run.run(work.folder, engine, workers, scheduler)

    def runs(self, work: Work, engine: Engine) -> list[Run]:
        return [Run.from_dict(entry.body) for entry in ledger.entries(engine, "run", work.id)]

    def copies(self, work: Work) -> list[Path]:
        source = Path(work.asked.source)
        found = [*super().copies(work), *work.folder.glob("*.memmap"), *work.folder.glob(f"{WINDOWS}/*")]
        if source.is_file() and source.is_relative_to(work.folder.resolve()):  # release 0.1 put it beside the results
            found.append(source)
        return list(dict.fromkeys(found))


KIND = MosaicKind()
