"""A run on record computed again from its stored image: networks, thresholds, corrections by hand."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine

from crystalseg.baselines import again, segment
from crystalseg.correct import history_of
from crystalseg.jobs import load_segmentation, save_segmentation
from crystalseg.measure.crystals import measure_crystals
from crystalseg.measure.distribution import Summary, summarise
from crystalseg.pipeline import Models
from crystalseg.runs import Reopened, correction_log, find
from crystalseg.segmentation import Segmentation
from crystalseg.settings import Settings


def recompute(engine: Engine, reopened: Reopened, models: Models) -> Summary | None:
    """What the run's image gives with its settings and the corrections logged until then, None if no crystal counts.
    ValueError says why it cannot be computed again."""
    run, micrograph = reopened.run, reopened.micrograph
    if micrograph is None:
        raise ValueError(f"Run {run.id}: its image was not kept, so that it cannot be segmented again.")
    if models.hashes != run.hashes:
        raise ValueError(f"Run {run.id}: it was made with other networks than those installed.")
    settings = Settings.from_dict(run.settings)
    if not run.job:
        found, log = segment(micrograph, settings, models), []
    else:
        # The app keeps a job's maps, and takes thresholds and corrections from these.
        found = _as_kept(segment(micrograph, Settings.from_dict(find(engine, run.job).settings), models))
        if found.settings.instances != settings.instances:
            found = again(found, micrograph.pixels, settings.instances, models.confidence)
        log = correction_log(engine, run.job, settings.instances.name, run.created)
    history = history_of(found, micrograph.pixels, [entry for _, entry in log])
    crystals = measure_crystals(history.labels, run.um_per_px, history.confidence, history.marks)
    return summarise(crystals, micrograph.shape, settings.measuring.border_rule)


def _as_kept(found: Segmentation) -> Segmentation:
    with TemporaryDirectory() as folder:
        save_segmentation(Path(folder) / "segmentation.npz", found)
        return load_segmentation(Path(folder) / "segmentation.npz")
