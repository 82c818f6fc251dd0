"""What methods are off by on labelled images of a kind of material: measured, kept, and looked up."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from crystalseg.measure.assessment import Assessment, assess
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.figures import Field, figures
from crystalseg.measure.specification import Limit
from crystalseg.measure.uncertainty import Validation, errors
from crystalseg.micrograph import Micrograph
from crystalseg.networks import DIRECTORY
from crystalseg.settings import Settings
from crystalseg.store import home, write_safely

SHIPPED = DIRECTORY / "validation.json"


def own() -> Path:
    """The file with what was validated on this machine."""
    return home() / "validation.json"


def validations() -> list[Validation]:
    """All that is known; what was measured here comes before what was shipped."""
    found: dict[tuple[str, str], Validation] = {}
    for path in (own(), SHIPPED):
        if path.is_file():
            for entry in json.loads(path.read_text()):
                known = {key: [v for v in values if v is not None] for key, values in entry["errors"].items()}
                made = Validation(entry["kind"], entry["method"], entry["images"], known)
                found.setdefault((made.kind, made.method), made)
    return list(found.values())


def lookup(kind: str, method: str) -> Validation | None:
    """What is known of a method on a kind of material."""
    return next((v for v in validations() if (v.kind, v.method) == (kind, method)), None)


def assess_product(
    fields: Sequence[Field], settings: Settings, calibration: float | None, kind: str, limits: Sequence[Limit]
) -> Assessment | None:
    """`assess` with what is known of the method on that kind of material ("" for an unknown one)."""
    known = lookup(kind, settings.method) if kind else None
    return assess(fields, settings.measuring.border_rule, calibration, known, limits)


def validate(
    pairs: Sequence[tuple[Micrograph, np.ndarray]],
    segment: Callable[[Micrograph], np.ndarray],
    kind: str,
    method: str,
    rule: str,
    report: Callable[[str], None] = lambda _: None,
) -> Validation:
    """Measure the figures of labelled images twice, from their labels and from what `segment` finds.

    Lengths are compared in px where an image has no pixel size; grain-size numbers then as if a pixel were 1 µm, which
    drops out of their differences.
    """
    rows = []
    for micrograph, labels in pairs:
        um = micrograph.um_per_px or 1.0
        measured, true = (
            figures([Field(of, measure_crystals(of, um), um)], rule) for of in (segment(micrograph), labels)
        )
        rows.append(errors(measured, true))
        report(f"{micrograph.name}: mean {100 * rows[-1].get('mean', float('nan')):+.1f} %")
    keys = dict.fromkeys(key for row in rows for key in row)
    return Validation(kind, method, len(rows), {key: [row[key] for row in rows if key in row] for key in keys})


def keep(made: Validation, path: Path) -> None:
    """Write it to a file of validations, in place of what that had of this method and kind."""
    old = json.loads(path.read_text()) if path.is_file() else []
    rest = [e for e in old if (e["kind"], e["method"]) != (made.kind, made.method)]
    off = {key: [round(v, 5) if np.isfinite(v) else None for v in values] for key, values in made.errors.items()}
    entry = {"kind": made.kind, "method": made.method, "images": made.images, "errors": off}
    entries = sorted([*rest, entry], key=lambda e: (e["kind"], e["method"]))
    write_safely(path, (json.dumps(entries, indent=1) + "\n").encode())
