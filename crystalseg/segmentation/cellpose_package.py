"""Run models of the cellpose package, if it is installed, as a method."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path

import numpy as np

from crystalseg.micrographs.labels import tidy
from crystalseg.networks.weights import file_hash, flow_inputs, load_cellpose_file
from crystalseg.segmentation.fusion import Prediction
from crystalseg.segmentation.instances import confidences
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings, SettingsError


def run(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Callable[[Progress], None]) -> Segmentation:
    """Run a model of the installed cellpose package, version 3 or 4, with the package's defaults and our foreground
    threshold. `settings.method` gives the model after a colon: a file, or a name that the package knows. Raises
    SettingsError if the model cannot be used."""
    model = settings.method.partition(":")[2]
    try:
        package = import_module("cellpose.models")
    except ImportError as error:
        raise SettingsError("The cellpose package is not installed (pip install cellpose).") from error
    version = installed("cellpose")
    path = Path(model)
    if not path.is_file() and model not in (*getattr(package, "MODEL_NAMES", ()), "cpsam"):
        raise SettingsError(f"'{model}' is neither a file nor the name of a model of cellpose {version}.")
    progress(Progress(f"cellpose {version}", 0, 1, 0.0))
    choice = settings.instances
    # Version 3 needs the number of channels; its own models take gray images.
    three = not version.startswith("4") and path.is_file() and flow_inputs(load_cellpose_file(path)) == 3
    make = {"nchan": 3} if three else {}
    channels = {"channels": [0, 0]} if not three and not version.startswith("4") else {}
    try:
        network = package.CellposeModel(pretrained_model=str(path.resolve()) if path.is_file() else model, **make)
        masks, flows, _ = network.eval(
            pyramid.pixels, cellprob_threshold=choice.foreground_threshold, min_size=choice.min_area, **channels
        )
    except MemoryError:
        raise
    except Exception as error:  # the package raises many kinds of errors for files that are no model
        raise SettingsError(f"cellpose {version} could not use '{model}' ({error}).") from error
    clock.lap("cellpose")
    labels = tidy(masks, choice.min_area)
    flow, foreground = np.asarray(flows[1], np.float32), np.asarray(flows[2], np.float32)
    fused = Prediction(flow / 5, foreground)
    confidence = confidences(labels, fused)
    hashes = {f"cellpose model {path.name}": file_hash(path)} if path.is_file() else {}
    return Segmentation(labels, confidence, fused, (), None, settings, {}, hashes, {"cellpose package": version})
