"""Build the content of a report, section by section, from measured fields to blocks."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as PillowImage

from crystalseg.measurement.query import LEFT_OUT
from crystalseg.measurement.rounding import at_most
from crystalseg.record.profiles import SECTIONS
from crystalseg.record.runs import Run
from crystalseg.report.blocks import Block, Facts, Heading, Pictures, Text
from crystalseg.report.figure_sections import budget, fields, figures, largest, result, verdict
from crystalseg.report.picture_sections import (
    PICTURED,
    attention,
    comparison_of_methods,
    distribution,
    outlines,
    test_lines,
)
from crystalseg.report.report import Details, Part, Report
from crystalseg.report.words import DETERMINISM, HOLES, SAMPLING, corrections_words, rule_words, settings_rows
from crystalseg.segmentation.methods import statement_of

# What a report may contain instead of the sections that its profile names.
PRESETS = {
    "customer": ("verdict", "overlay", "signature", "distribution"),
    "laboratory": tuple(section for section in SECTIONS if section not in ("attention", "intercepts")),
    "complete": tuple(SECTIONS),
}


def content(report: Report) -> list[Block]:
    """Return the blocks of the whole report: verdict, result, picture and signatures first, where the result comes from
    last. Sections that are not wanted or have nothing to show are left out."""
    wanted = PRESETS.get(report.details.preset, report.profile.sections)
    blocks = _identity(report)
    for section, make in _SECTIONS.items():
        if section == "overlay":
            blocks += result(report)
        if section in wanted:
            blocks += make(report)
        if section == "distribution" and report.comparison is not None and report.parts[0].micrograph is not None:
            blocks += comparison_of_methods(report.comparison, report.parts[0].micrograph.pixels)
    return [*blocks, *_provenance(report), Text("End of report", small=True)]


def _identity(report: Report) -> list[Block]:
    d, first = report.details, report.parts[0]
    given = [
        ("Company", d.company),
        ("Laboratory", d.laboratory),
        ("Customer", d.customer),
        ("Product, profile", ", ".join(filter(None, (report.profile.product, report.profile.name)))),
        ("Sample", d.sample),
        ("Material", d.material),
        ("Received", d.received),
        ("Image" if len(report.parts) == 1 else "Images", _images_in_short(report.parts)),
        ("Measured", _when(first.run)),
        ("Operator", d.operator),
        ("Remarks", d.remarks),
    ]
    return [*_logo(d), Facts([(name, value) for name, value in given if value], across=2)]


def _images_in_short(parts: Sequence[Part]) -> str:
    first = parts[0]
    height, width = first.field.shape
    pixel = (
        f"{at_most(first.run.um_per_px)} µm per pixel" if first.run.um_per_px else "no pixel size: all sizes in pixels"
    )
    more = f" and {len(parts) - 1} more, see the table per field" if len(parts) > 1 else ""
    return f"{first.run.image_name}, {width} × {height} px, {pixel}{more}"


def _when(run: Run) -> str:
    return f"{run.created[:19].replace('T', ' ')} UTC"


def _provenance(report: Report) -> list[Block]:
    """Return the annex: which files and which entry of the record the report rests on."""
    shown = report.parts[: PICTURED if len(report.parts) <= PICTURED else 1]
    rows = [row for part in shown for row in _image_rows(part)]
    if len(report.parts) > PICTURED:
        rows.append(("Fields", f"{len(report.parts)}, all listed in the table per field"))
    blocks: list[Block] = [Heading("Annex: provenance"), Facts(rows, small=True)]
    if (a := report.anchor) is not None:
        words = (
            f"The record ended with entry {a.number}, SHA-256 {a.hash}, when this was issued; signed with Ed25519 by "
            f"the key {a.key}: {a.signature}. The audit of this file shows whether the record still has that entry."
        )
        blocks.append(Text(words, small=True))
        if a.token:
            blocks.append(Text(f"Time stamp of that (RFC 3161): {a.stamped()}.", small=True))
        elif a.unstamped:
            blocks.append(Text(a.unstamped, small=True))
    return blocks


def _logo(details: Details) -> list[Block]:
    if not details.logo:
        return []
    picture = np.asarray(PillowImage.open(io.BytesIO(details.logo)).convert("RGB"))
    return [Pictures([(picture, "")], height=14.0)]


def _image_rows(part: Part) -> list[tuple[str, str]]:
    run = part.run
    height, width = part.field.shape
    region = f", rows {run.region[0]}–{run.region[2]}, columns {run.region[1]}–{run.region[3]}" if run.region else ""
    if run.calibration:
        uncertainty = run.calibration.uncertainty
        stated = (
            f", standard uncertainty {100 * uncertainty:.2g} %"
            if uncertainty is not None
            else ", uncertainty not stated"
        )
        pixel = f"{run.um_per_px:.5g} µm per pixel ({run.calibration.source}{stated})"
    else:
        pixel = "none: all sizes in pixels"
    return [
        ("Run, date", f"{run.id}, {_when(run)}"),
        ("Image", f"{run.image_name}, {width} × {height} px{region}"),
        ("Image SHA-256", run.image_sha256 or "not from a file"),
        ("Calibration", pixel),
        *(("Note", note) for note in (part.micrograph.notes if part.micrograph else ())),
    ]


def _corrections(report: Report) -> list[Block]:
    blocks: list[Block] = []
    for part in report.parts:
        if log := part.run.log:
            name = f" ({part.run.image_name})" if len(report.parts) > 1 else ""
            rows = [(f"{c.when[:19].replace('T', ' ')} UTC, {c.who}", c.words()) for c in log]
            blocks += [Heading(f"Corrections{name}: {corrections_words(log)}"), Facts(rows)]
    return blocks


def _method(report: Report) -> list[Block]:
    part = report.parts[0]
    run, settings = part.run, part.settings
    factors = ", ".join(f"{factor:.3g}" for factor in run.factors)
    statement = statement_of(settings.method, settings.network, factors or "of its own")
    words = (
        f"{statement} Size is the equivalent circular diameter "
        f"2·√(area/π) of each crystal's section, which is not the true diameter of the crystal. Holes in crystals are "
        f"{HOLES[settings.instances.holes]}. {rule_words(settings.measuring.border_rule)} {SAMPLING} Percentiles "
        f"follow ISO 9276-1 (smallest size whose cumulative share reaches it)."
    )
    if settings.measuring.only:
        out = sum(int((p.field.crystals["kind"] == LEFT_OUT).sum()) for p in report.parts)
        words += (
            f" Only crystals with {settings.measuring.only} are counted; {out} others were found and left out (p33: "
            f"what 33 % of the image's crystals do not exceed)."
        )
    rows = [
        *settings_rows(settings, factors),
        *_otherwise(report.parts),
        ("Model versions", ", ".join(f"{name} {version}" for name, version in run.versions.items()) or "none"),
        *((f"SHA-256 of {name} weights", digest) for name, digest in run.hashes.items()),
        *([("Networks computed on", f"{run.device}. {DETERMINISM}")] if run.device else ()),
        ("Software", ", ".join(f"{name} {version}" for name, version in run.software.items())),
        ("Computing time", f"{sum(p.run.timings[stage] for p in report.parts for stage in p.run.timings):.1f} s"),
    ]
    return [Heading("Method"), Text(words), Facts(rows, small=True)]


def _otherwise(parts: Sequence[Part]) -> list[tuple[str, str]]:
    """Return the settings of other fields that differ from those of the first field."""
    factors = [", ".join(f"{f:g}" if f else "by size" for f in part.settings.scales.factors) for part in parts]
    chosen = [settings_rows(part.settings, f or "of its own") for part, f in zip(parts, factors, strict=True)]
    rows = []
    for part, own in zip(parts, chosen, strict=True):
        differing = "; ".join(f"{name} {value}" for name, value in own if (name, value) not in chosen[0])
        if differing:
            rows.append((f"Different for {part.run.image_name}", differing))
    return rows


def _signature(report: Report) -> list[Block]:
    line, date = "_" * 16, f"date {'_' * 10}"
    rows = [
        ("Measured by", f"{report.details.operator or line} {date}"),
        ("Authorised by", report.details.authorised or f"{line} {date}"),
    ]
    said = "This report is valid as a whole only. It was issued from the record named at the foot of each page."
    return [Heading("Signatures"), Facts(rows, across=2), Text(said, small=True)]


# In their order on paper: the first page answers the question, the next ones show how.
_SECTIONS = {
    "verdict": verdict,
    "overlay": outlines,
    "signature": _signature,
    "distribution": distribution,
    "figures": figures,
    "budget": budget,
    "fields": fields,
    "intercepts": test_lines,
    "attention": attention,
    "largest": largest,
    "corrections": _corrections,
    "method": _method,
}
