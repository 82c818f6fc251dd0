"""Runs on record as fields of one sample, whose crystals are counted together: which runs can be combined."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from crystalseg.record.runs import Run

# What fields of one sample must have in common: its name, and how to get it from a run.
_ALIKE: dict[str, Callable[[Run], str | int | dict]] = {
    "methods": lambda run: run.chosen.full_method,
    "weights": lambda run: run.hashes,
    "model versions": lambda run: run.versions,
    "border rules": lambda run: run.chosen.measuring.border_rule,
    "selections of crystals": lambda run: run.chosen.measuring.only or "all",
    "conventions for boundaries and shapes": lambda run: run.chosen.measuring.convention,
    "units": lambda run: "µm" if run.um_per_px else "px (no pixel size)",
}


def of_different_places(runs: Sequence[Run]) -> list[Run]:
    """Drop runs that measured pixels which an earlier run has measured: the same image, or an overlapping part of it.
    Their crystals would count twice, and the sampling uncertainty would be too small."""
    kept = []
    seen: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        before = seen[run.image_sha256] if run.image_sha256 else []
        if not any(_overlap(run, other) for other in before):
            kept.append(run)
            before.append(run)
    return kept


def _overlap(one: Run, other: Run) -> bool:
    if one.region is None or other.region is None:
        return True
    top, left, bottom, right = zip(one.region, other.region, strict=True)
    return max(top) < min(bottom) and max(left) < min(right)


def why_not(runs: Sequence[Run]) -> str:
    """Say why these runs cannot be fields of one sample, in a sentence that says what to do, or return "" if they can.
    Thresholds and resize factors may differ between fields; the report says where they do."""
    kept = {run.id for run in of_different_places(runs)}
    twice = next((run for run in runs if run.id not in kept), None)
    if twice is not None:
        return (
            f"Run {twice.id} and another of these runs measured the same part of {twice.image_name}, so its crystals "
            "would count twice. Choose one of the two runs."
        )
    first = runs[0]
    for words, fact in _ALIKE.items():
        said = [fact(run) for run in runs]
        other = next((k for k, own in enumerate(said) if own != said[0]), None)
        if other is not None:
            differing = f"{_words(said[0])}; {_words(said[other])}"
            return (
                f"{first.image_name} and {runs[other].image_name} have different {words} ({differing}). "
                "Fields of one sample must be measured alike. Measure one of them again, or report them separately."
            )
    return ""


def _words(said: str | int | dict) -> str:
    """Return it as words, with hashes shortened to what tells them apart at a glance."""
    if not isinstance(said, dict):
        return str(said)
    return ", ".join(f"{name} {one[:12] if len(one) == 64 else one}" for name, one in said.items())
