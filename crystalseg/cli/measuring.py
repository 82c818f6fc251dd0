"""Commands that measure: segment, batch."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress as Bar

from crystalseg.cli.app import app, complain, errors
from crystalseg.cli.options import (
    FlowModel,
    Formats,
    InstrumentName,
    MethodName,
    ModelName,
    Percent,
    ProfileName,
    Scheduler,
    SettingsFile,
    UmPerPx,
    Weights,
    calibration_from,
    chosen,
    models_from,
    on_flow_model,
    ordered,
)
from crystalseg.errors import UserError
from crystalseg.segmentation.effort import EFFORTS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crystalseg.measurement.uncertainty import Validation
    from crystalseg.micrographs.calibration import Calibration
    from crystalseg.record.profiles import Profile
    from crystalseg.report.report import Details
    from crystalseg.segmentation.models import Models
    from crystalseg.segmentation.settings import Settings


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; created if missing.")],
    um_per_px: UmPerPx = None,
    uncertainty: Percent = None,
    instrument: InstrumentName = "",
    method: MethodName = None,
    settings_file: SettingsFile = None,
    weights: Weights = None,
    flow_model: FlowModel = None,
    keep_data_bar: Annotated[bool, typer.Option(help="Also measure the data bar of an SEM image.")] = False,
    channel: Annotated[
        int | None, typer.Option(min=1, help="Channel of a file with several; default: the first.")
    ] = None,
    max_megapixels: Annotated[
        float | None, typer.Option(help="Refuse larger images; default: 100, or the limit of this machine.")
    ] = None,
    sample: Annotated[str, typer.Option(help="Sample name for the report.")] = "",
    operator: Annotated[str, typer.Option(help="Operator for the report.")] = "",
    profile_name: ProfileName = "",
    model: ModelName = "",
    effort: Annotated[str, typer.Option(help=f"{', '.join(EFFORTS)}: how finely SiMA+ looks at the image.")] = "",
    only: Annotated[str, typer.Option(help="Count only these crystals: “round ones above 20 µm”, “ohne kleine”.")] = "",
    only_by: Annotated[
        Path | None, typer.Option(help="Folder of your own language model, which turns --only into a filter.")
    ] = None,
    paper: Annotated[str, typer.Option(help="A4 or Letter.")] = "A4",
    formats: Formats = "",
) -> None:
    """Measure the crystals of images: labels TIFF, crystals CSV, report PDF and run JSON for each, or other formats."""
    from crystalseg.micrographs.names import file_stems
    from crystalseg.record.database import open_database
    from crystalseg.report import handouts
    from crystalseg.report.pdf import PAGES
    from crystalseg.report.report import Details

    if paper not in PAGES:
        raise UserError(f"There is no paper of that name. Choose one of {', '.join(PAGES)}.")
    written = handouts.chosen(formats, handouts.IMAGE)
    engine = open_database()
    if only_by:
        only = _by_model(only, only_by)
    settings, profile, validation = chosen(engine, settings_file, method, profile_name, model, only, effort)
    settings = on_flow_model(settings, flow_model)
    calibration = calibration_from(engine, um_per_px, uncertainty, instrument)
    out.mkdir(parents=True, exist_ok=True)
    models = models_from(weights, flow_model, settings)
    details = Details(sample=sample, operator=operator, paper=paper)
    call = _Call(
        engine,
        models,
        settings,
        calibration,
        keep_data_bar,
        max_megapixels,
        channel,
        validation,
        details,
        profile,
        out,
        written,
    )
    failed = 0
    for path, name in zip(images, file_stems(path.name for path in images), strict=True):
        try:
            print(*_measure(path, name, call))
        except UserError as error:
            failed += 1
            complain(error)
    if failed:
        raise typer.Exit(2)


def _by_model(only: str, model: Path) -> str:
    """Return the filter that a language model makes of words, and print it."""
    from crystalseg.measurement.wording import filter_by_model
    from crystalseg.segmentation.language import LanguageModel

    if not only:
        raise UserError("--only-by makes a filter from the words of --only. Give both.")
    found = filter_by_model(only, model.name, LanguageModel(model))
    print(f"Counted: {found}")
    return found


@dataclass(frozen=True)
class _Call:
    """The options that apply to all images of a call."""

    engine: "Engine"
    models: "Models"
    settings: "Settings"
    calibration: "Calibration | None"
    keep_data_bar: bool
    max_megapixels: float | None
    channel: int | None
    validation: "Validation | None"
    details: "Details"
    profile: "Profile | None"
    out: Path
    formats: tuple[str, ...]


def _measure(path: Path, name: str, call: _Call) -> list[str]:
    """Measure one image and write its files. Returns the lines to print."""
    from crystalseg.execution.one_image import measure_micrograph
    from crystalseg.execution.result import conclude
    from crystalseg.micrographs.decoding import read_micrograph
    from crystalseg.micrographs.preparation import prepared
    from crystalseg.record import store
    from crystalseg.report.words import size_rows

    original = read_micrograph(path, max_megapixels=call.max_megapixels, channel=call.channel)
    store.put(path.read_bytes())
    micrograph = prepared(original, call.calibration, call.keep_data_bar)
    with Bar(console=errors, transient=True) as progress:
        task = progress.add_task(micrograph.name, total=1.0)
        result = measure_micrograph(
            micrograph, call.settings, call.models, lambda p: progress.update(task, completed=p.share)
        )
    facts = (call.validation, call.details, call.profile)
    report = conclude(call.engine, result, *facts, formats=call.formats, place=call.out / name)
    summary, assessment = result.measurement.summary, report.assessment
    average = assessment.budgets["mean"] if assessment is not None else None
    size = size_rows(summary, average)[0][1] if summary else "no crystal counted"
    words = [f"{micrograph.name}: {len(result.measurement.crystals)} crystals, average size {size}", *micrograph.notes]
    if assessment is None or assessment.outcome is None:
        return words
    why = [f"{v.limit.words()}: {v.outcome}. {v.why}" for v in assessment.verdicts if v.outcome != "pass"]
    return [*words, f"Verdict: {assessment.outcome}.", *why]


@app.command("batch")
def run_batch(
    source: Annotated[Path, typer.Argument(help="Folder or ZIP file of images.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; with an unfinished batch in it, continues that.")],
    profile_name: ProfileName = "",
    um_per_px: UmPerPx = None,
    uncertainty: Percent = None,
    instrument: InstrumentName = "",
    workers: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    scheduler: Scheduler = None,
    operator: Annotated[str, typer.Option(help="Operator for the record and reports.")] = "",
    go_on: Annotated[bool, typer.Option(help="Continue the batch in --out as it was started.")] = False,
    formats: Formats = "",
) -> None:
    """Measure many images with one profile. Ctrl-C pauses; the same command continues.

    A given pixel size applies to all images. An image that states another one is not measured.
    """
    from crystalseg.execution import batch_run, work_state
    from crystalseg.execution.kinds import batch
    from crystalseg.record.database import open_database
    from crystalseg.report import handouts

    engine = open_database()
    if go_on:
        batch.load(out)  # raises an error if there is none
    else:
        profile, calibration = ordered(engine, profile_name, um_per_px, uncertainty, instrument)
        written = handouts.chosen(formats, handouts.BATCH) if formats else None
        for note in batch.prepare(out, source, profile, calibration, operator, written).notes:
            print(note)
        work_state.ask(out, "")
    try:
        state = batch_run.run(out, engine, workers, scheduler, print)
    except KeyboardInterrupt:
        print("Paused. The same command continues the batch.")
        raise typer.Exit(130) from None
    failed = len(state.reasons)
    print(f"{state.done} of {state.total} images measured, {failed} failed: {state.status}; see {out}")
    if failed:
        raise typer.Exit(2)
