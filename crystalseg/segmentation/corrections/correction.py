"""A correction by hand, as a person requested it."""

from dataclasses import asdict, dataclass
from typing import Literal, get_args

from crystalseg.errors import UserError

Kind = Literal["merge", "split", "cut", "delete", "add", "redraw", "mark", "accept"]
Undo = Literal["undo", "redo"]
Mark = Literal["crystal", "pore", "artefact"]


class CorrectionError(UserError):
    """A correction is impossible. The message is one sentence for the user."""


@dataclass(frozen=True)
class Correction:
    """A requested correction.

    kind: `merge` crystals `ids`; `split` one crystal at two or more `points`, one in each future piece; `cut` one
    crystal along the line through `points`; `delete` crystals `ids`; `add` a crystal at the first of `points`; `redraw`
    the crystal `ids` (none: a new one) as the polygon `points`, which a network drew from `clicks` clicks (0: drawn by
    hand); `mark` crystals `ids` as `mark`; `accept` doubtful crystals as they are.
    points: (y, x), px of the measured image. who, when: for the log; when in ISO 8601.
    """

    kind: Kind
    ids: tuple[int, ...] = ()
    points: tuple[tuple[float, float], ...] = ()
    mark: Mark = "crystal"
    clicks: int = 0
    who: str = ""
    when: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.mark not in get_args(Mark):
            raise CorrectionError(f"There is no correction '{self.kind}' as '{self.mark}'.")
        object.__setattr__(self, "ids", tuple(dict.fromkeys(int(i) for i in self.ids)))
        object.__setattr__(self, "points", tuple((float(y), float(x)) for y, x in self.points))

    def words(self) -> str:
        """Return the correction in a few words, for the log on page and report."""
        names = ", ".join(map(str, self.ids))
        clicks = f" by {self.clicks} click{'s' * (self.clicks > 1)}" if self.clicks else ""
        where = f" at ({self.points[0][1]:.0f}, {self.points[0][0]:.0f})" if self.points else ""
        return {
            "merge": f"merged {names}",
            "split": f"split {names} at {len(self.points)} points",
            "cut": f"cut {names} along a line",
            "delete": f"deleted {names}",
            "add": f"added one{where}",
            "redraw": (f"redrew {names}" if self.ids else f"drew one{where}") + clicks,
            "mark": f"marked {names} as {self.mark}",
            "accept": f"accepted {names}",
        }[self.kind]

    def to_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(entry: dict) -> "Correction":
        """Return the correction from the dict that `to_dict` made. Raises CorrectionError if it cannot be read."""
        try:
            return Correction(**entry)
        except TypeError as error:
            raise CorrectionError("A correction on record cannot be read, because another version wrote it.") from error
