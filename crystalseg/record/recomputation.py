"""Recompute a run on record from its stored image: networks, thresholds and manual corrections."""

from sqlalchemy import Engine

from crystalseg.errors import UserError
from crystalseg.measurement.distribution import Summary
from crystalseg.measurement.measurement import measure
from crystalseg.record.corrections import correction_log
from crystalseg.record.models import taught
from crystalseg.record.reopening import Reopened
from crystalseg.record.results import as_kept
from crystalseg.record.runs import entry_of, find, same_networks
from crystalseg.segmentation.corrections.history import history_of
from crystalseg.segmentation.models import Models, with_taught
from crystalseg.segmentation.pipeline import rethreshold, segment


def recompute(engine: Engine, reopened: Reopened, models: Models) -> Summary | None:
    """Return the summary that the run's image gives with its settings and the corrections logged before the run, or
    None if no crystal counts. Raises UserError, which says why the run cannot be recomputed."""
    run, micrograph = reopened.run, reopened.micrograph
    if micrograph is None:
        raise UserError(f"Run {run.id} cannot be segmented again, because its image was not kept.")
    models = with_taught(models, taught(engine, run.chosen))
    if not same_networks(run, models.hashes):
        raise UserError(f"Run {run.id} cannot be segmented again, because it used other weights than those installed.")
    settings = run.chosen
    if not run.job:
        segmentation, log = segment(micrograph, settings, models), []
    else:
        # The app keeps the maps of a job, and applies thresholds and corrections to them.
        segmentation = as_kept(segment(micrograph, find(engine, run.job).chosen, models))
        if segmentation.settings.instances != settings.instances:
            segmentation = rethreshold(segmentation, micrograph.pixels, settings.instances, models.judge(settings))
        log = correction_log(engine, run.job, settings.instances, entry_of(engine, run.id).number)
    history = history_of(segmentation, micrograph.pixels, [one.entry for one in log])
    return measure(
        history.labels,
        run.um_per_px,
        settings.measuring.border_rule,
        history.confidence,
        history.marks,
        settings.measuring.only,
        micrograph.pixels,
        settings.measuring.convention,
    ).summary
