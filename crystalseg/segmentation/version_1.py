"""The texts by which the record looked up settings up to release 0.1, before keys (`canonical`) replaced them.

Corrections and validations of that time carry only these texts and are looked up by them for ever. The wording is
frozen, and tests hold it to the letter. Texts for people are worded elsewhere.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystalseg.segmentation.settings import Instances, Settings

# The default settings, by which the run that comes with the program was named.
DEFAULT_SETTINGS = (
    "Settings(method='sima-plus', scales=Scales(factors=(), thresholds=(), tile_relevance=0.02), instances=Instances("
    "foreground_threshold=0.0, min_area=15, min_confidence=0.25, flow_threshold=0.4), measuring=Measuring("
    "border_rule='exclude', only=''), network='folded', effort='thorough')"
)


def instances_text(instances: "Instances") -> str:
    """Return the text by which an entry in the log of corrections names the thresholds."""
    limit = "" if instances.flow_threshold is None else f", flow error to {instances.flow_threshold:g}"
    confidence = f"confidence from {instances.min_confidence:g}"
    return f"h {instances.foreground_threshold:g}, from {instances.min_area} px², {confidence}{limit}"


def conditions_text(settings: "Settings") -> str:
    """Return the text by which a validation names the settings under which it holds."""
    chosen, scales = settings.instances, [f"{f:g}" if f else "by size" for f in settings.scales.factors]
    return ", ".join(
        (
            f"h {chosen.foreground_threshold:g}",
            f"from {chosen.min_area} px²",
            f"confidence from {chosen.min_confidence:g}"
            if settings.drops_by_confidence
            else f"flow to {chosen.flow_threshold:g}",
            f"border {settings.measuring.border_rule}",
            *([f"scales {' '.join(scales)}"] if scales else []),
        )
    )
