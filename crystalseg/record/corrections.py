"""The log of manual corrections."""

from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from crystalseg.record import ledger
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.settings import Instances
from crystalseg.segmentation.version_1 import instances_text


@dataclass(frozen=True)
class Logged:
    """A correction, undo or redo on record.

    number: The number of its entry.
    entry: The action, as `Correction.to_dict` gives it, or only its kind for undo and redo.
    instances: The thresholds of the corrected labels. None if only `text` is known, which is how version 1 of the
        record named them.
    """

    number: int
    entry: dict
    instances: Instances | None
    text: str

    def is_of(self, instances: Instances) -> bool:
        """Whether it was made to labels with these thresholds."""
        if self.instances is None:
            return instances.holes == "filled" and self.text == instances_text(instances)
        return canonical(self.instances) == canonical(instances)


def log_correction(
    engine: Engine, job: str, instances: Instances, entry: dict, who: str, after: int | None = None
) -> int:
    """Log a correction, undo or redo of the result of `job` with these thresholds, and return the number of its entry.

    `after` is the number of the job's last entry that the caller has seen; see `ledger.append`.
    """
    body = {"choice": instances_text(instances), "instances": asdict(instances), "entry": entry}
    return ledger.append(engine, "correction", job, body, who, after=after).number


def correction_log(
    engine: Engine, job: str, instances: Instances | None = None, before: int | None = None, after: int = 0
) -> list[Logged]:
    """Return the log of a job, oldest first: for all thresholds unless `instances` is given, and only entries with
    numbers between `after` and `before`."""
    log = [_logged(entry) for entry in ledger.entries(engine, "correction", job, before=before, after=after)]
    return [one for one in log if instances is None or one.is_of(instances)]


def _logged(entry: ledger.Entry) -> Logged:
    noted = entry.body.get("instances")
    return Logged(entry.number, entry.body["entry"], Instances(**noted) if noted else None, entry.body["choice"])
