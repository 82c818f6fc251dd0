"""What is to be done with a mosaic, and how far that is: files of its folder.

`mosaic.json` says what is to be done, `state.json` how far it is; `mosaic_run` does it.
"""

import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from crystalseg.execution.batch_source import BatchError
from crystalseg.execution.work_folder import is_locked
from crystalseg.micrographs.calibration import Calibration
from crystalseg.record import store
from crystalseg.record.profiles import Profile


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

    def save(self, folder: Path) -> None:
        """Into its folder."""
        facts = asdict(self) | {"profile": json.loads(self.profile.to_json())}
        store.write_safely(folder / "mosaic.json", json.dumps(facts, indent=1).encode())


@dataclass(frozen=True)
class State:
    """How far a mosaic is. state: waiting, running, paused, failed or done; stage and share: in words, 0..1; error: one
    sentence, if failed; stem: what the names of its files begin with."""

    state: str = "waiting"
    stage: str = ""
    share: float = 0.0
    error: str = ""
    stem: str = ""


def state_of(folder: Path) -> State:
    """How far the mosaic in `folder` is."""
    file = folder / "state.json"
    state = State(**json.loads(file.read_text())) if file.exists() else State()
    if state.state == "running" and not is_locked(folder):
        return replace(state, state="paused")  # its process has gone
    return state


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
    whose files are called as `Mosaic.results` says. BatchError if another is there."""
    where = str(source.resolve())
    if (folder / "mosaic.json").exists():
        begun = load(folder)
        if (begun.source, begun.profile, begun.calibration) != (where, profile, calibration):
            raise BatchError(
                f"{folder} holds another mosaic, of {begun.source}, or with another profile or pixel size: choose "
                "another folder."
            )
        return begun
    mosaic = Mosaic(id or uuid.uuid4().hex[:12], where, profile, calibration, operator, results)
    mosaic.save(folder)
    return mosaic


def load(folder: Path) -> Mosaic:
    """What was begun in `folder`; BatchError if nothing was."""
    try:
        facts = json.loads((folder / "mosaic.json").read_text())
    except OSError as error:
        raise BatchError(f"{folder} holds no mosaic.") from error
    calibration = Calibration(**facts["calibration"]) if facts["calibration"] else None
    return Mosaic(**facts | {"profile": Profile.from_dict(facts["profile"]), "calibration": calibration})
