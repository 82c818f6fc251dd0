"""One image of hundreds of megapixels, measured window by window.

`mosaic.json` says what is to be done; `mosaic_run` does it.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sqlalchemy import Engine

from crystalseg.execution.work import Kind, Work
from crystalseg.execution.work_state import WorkError, order_in
from crystalseg.micrographs.calibration import Calibration
from crystalseg.micrographs.names import visible
from crystalseg.record import ledger, store
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import Run

WINDOWS = "windows"  # folder of what the windows found until all is done; parts of the image are in it


@dataclass(frozen=True)
class Mosaic:
    """id: of its run; source: file, or OME-Zarr folder; profile; calibration: or None if it states its own or has none;
    operator: who asked for it, or ""; results: what the paths of its files begin with, or "" if they lie in its folder
    and are called as it is. Once it was read, sha256: of it; weights: hashes of those used, by name."""

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
        """In words, for people."""
        return f"{visible(Path(self.source).name)}, profile {self.profile.name}"

    def save(self, folder: Path) -> None:
        """Into its folder."""
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
    """The mosaic in `folder`: the one that is there already, or a new one, whose run gets the `id` if one is given and
    whose files are called as `Mosaic.results` says. WorkError if another is there."""
    where = str(source.resolve())
    if (folder / "mosaic.json").exists():
        begun = load(folder)
        if (begun.source, begun.profile, begun.calibration) != (where, profile, calibration):
            raise WorkError(
                f"{folder} holds another mosaic, of {begun.source}, or with another profile or pixel size: choose "
                "another folder."
            )
        return begun
    mosaic = Mosaic(id or uuid.uuid4().hex[:12], where, profile, calibration, operator, results)
    mosaic.save(folder)
    return mosaic


def load(folder: Path) -> Mosaic:
    """What was begun in `folder`; WorkError if nothing was."""
    facts = order_in(folder / "mosaic.json", "mosaic")
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    return Mosaic(**facts | {"profile": Profile.from_dict(facts["profile"]), "calibration": calibration})


class MosaicKind(Kind):
    """One image that is larger than what is measured at once."""

    name = "mosaic"
    place = "mosaics"
    files = ("mosaic.json",)
    parts = "tiles"
    takes_a_file = True
    least_workers = 0  # this process alone, with all cores

    def asked(self, folder: Path) -> Mosaic:
        return load(folder)

    def carry_out(
        self, work: Work, engine: Engine, workers: int, scheduler: str | None, say: Callable[[str], None]
    ) -> None:
        from crystalseg.execution import mosaic_run  # loads torch, which pages that only show results do without

        mosaic_run.run(work.folder, engine, workers, scheduler)

    def runs(self, work: Work, engine: Engine) -> list[Run]:
        return [Run.from_dict(entry.body) for entry in ledger.entries(engine, "run", work.id)]

    def copies(self, work: Work) -> list[Path]:
        source = Path(work.asked.source)
        found = [*super().copies(work), *work.folder.glob("*.memmap"), *work.folder.glob(f"{WINDOWS}/*")]
        if source.is_file() and source.is_relative_to(work.folder.resolve()):  # beside the results, in release 0.1
            found.append(source)
        return list(dict.fromkeys(found))


KIND = MosaicKind()
