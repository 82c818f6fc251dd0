"""The command line: the app's verbs without a browser. Heavy imports wait until a verb needs them."""

import gc
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Crystal size measurement from micrographs.",
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Network(StrEnum):
    cellpose = "cellpose"
    sima = "sima"
    size = "size"
    confidence = "confidence"
    boundary = "boundary"


def main() -> None:
    """Entry point: an error of the user's is one sentence on stderr and exit code 2."""
    try:
        app()
    except ValueError as error:
        _complain(error)
        sys.exit(2)


def _complain(error: object) -> None:
    errors.print(str(error), style="red", markup=False)


def _settings(path: Path | None, method: str | None):
    from dataclasses import replace

    from crystalseg.settings import Settings, SettingsError

    settings = Settings()
    if path is not None:
        try:
            settings = Settings.from_json(path.read_text())
        except OSError as error:
            raise SettingsError(f"{path}: cannot be opened ({error.strerror}).") from error
    if method is not None:
        settings = replace(settings, method=method)
    return settings


_Weights = Annotated[Path | None, typer.Option(help="Folder with cellpose.safetensors and the other weights.")]
_FlowModel = Annotated[Path | None, typer.Option(help="A Cellpose 2 or 3 model file to use as the flow network.")]
_Method = Annotated[
    str | None,
    typer.Option(help="sima-plus, sima, cellpose-original, cellpose-multiscale, cellpose-maximum, cellpose-noresize, "
                 "two-scale, boundary, watershed, cellpose-package:MODEL."),
]  # fmt: skip
_SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings JSON, as the app saves it.")]


_UmPerPx = Annotated[float | None, typer.Option(help="Pixel size, µm; else the file's metadata.")]
_Percent = Annotated[float | None, typer.Option("--uncertainty", help="Standard uncertainty of --um-per-px, %.")]
_Instrument = Annotated[str, typer.Option("--calibration", help="Calibration on record, by name, as saved in the app.")]


def _calibration(engine, um_per_px: float | None, percent: float | None, name: str):
    from crystalseg.calibration import from_um_per_px
    from crystalseg.instruments import find

    if name and um_per_px is not None:
        raise ValueError("Give --um-per-px or --calibration, not both.")
    if percent is not None and um_per_px is None:
        raise ValueError("--uncertainty is that of --um-per-px: give both.")
    if name:
        return find(engine, name).calibration()
    return None if um_per_px is None else from_um_per_px(um_per_px, percent)


def _models(weights: Path | None, flow_model: Path | None = None):
    from crystalseg.networks import DIRECTORY
    from crystalseg.pipeline import load_models

    return load_models(weights or DIRECTORY, flow_file=flow_model)


@app.command()
def segment(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, BMP or TIFF files.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; made if missing.")],
    um_per_px: _UmPerPx = None,
    uncertainty: _Percent = None,
    instrument: _Instrument = "",
    method: _Method = None,
    settings_file: _SettingsFile = None,
    weights: _Weights = None,
    flow_model: _FlowModel = None,
    keep_data_bar: Annotated[bool, typer.Option(help="Measure a SEM data bar too, if one is found.")] = False,
    max_megapixels: Annotated[float, typer.Option(help="Refuse larger images.")] = 100.0,
    sample: Annotated[str, typer.Option(help="Sample name for the report.")] = "",
    operator: Annotated[str, typer.Option(help="Operator for the report.")] = "",
    profile_name: Annotated[
        str,
        typer.Option("--profile", help="Profile on record, or a product for its default."),
    ] = "",
    paper: Annotated[str, typer.Option(help="A4 or Letter.")] = "A4",
) -> None:
    """Measure the crystals of images: labels TIFF, crystals CSV, report PDF and run JSON for each."""
    from crystalseg import store
    from crystalseg.micrograph import read_micrograph
    from crystalseg.profiles import find
    from crystalseg.report.pdf import PAGES
    from crystalseg.report.sample import Details
    from crystalseg.runs import open_database

    if paper not in PAGES:
        raise ValueError(f"The paper must be one of {', '.join(PAGES)}.")
    settings = _settings(settings_file, method)
    engine = open_database()
    profile = find(engine, profile_name) if profile_name else None
    if profile is not None:
        if settings_file is not None or method is not None:
            raise ValueError("A profile has settings of its own: leave --settings and --method out.")
        settings = profile.settings
    calibration = _calibration(engine, um_per_px, uncertainty, instrument)
    out.mkdir(parents=True, exist_ok=True)
    models = _models(weights, flow_model)
    names = _output_names(images)
    failed = 0
    for path, name in zip(images, names, strict=True):
        try:
            micrograph = read_micrograph(path, max_megapixels=max_megapixels)
            store.put(path.read_bytes())
            _segment_one(engine, micrograph, name, out, calibration, settings, models, keep_data_bar,
                         Details(sample=sample, operator=operator, paper=paper), profile)  # fmt: skip
        except ValueError as error:
            failed += 1
            _complain(error)
    if failed:
        raise typer.Exit(2)


def _output_names(images: list[Path]) -> list[str]:
    """Stems of the files; where two are alike, their extension or folder is added, so that none is overwritten."""
    names: list[str] = []
    for path in images:
        number = 1
        candidates = [path.stem, f"{path.stem}_{path.suffix[1:]}", f"{path.parent.name}_{path.stem}"]
        while (name := candidates.pop(0) if candidates else f"{path.stem}_{(number := number + 1)}") in names:
            pass
        names.append(name)
    return names


def _segment_one(engine, micrograph, name, out, calibration, settings, models, keep_data_bar, details, profile) -> None:
    from dataclasses import replace

    from crystalseg.baselines import segment
    from crystalseg.measure.crystals import measure_crystals
    from crystalseg.measure.distribution import summarise
    from crystalseg.micrograph import find_data_bar
    from crystalseg.report.export import crystals_csv, labels_tiff
    from crystalseg.report.pdf import build_pdf
    from crystalseg.report.sample import report_of
    from crystalseg.report.words import size_rows
    from crystalseg.runs import describe, issue, record

    if calibration is not None:
        micrograph = replace(micrograph, calibration=calibration)
    bar = None if keep_data_bar else find_data_bar(micrograph.pixels)
    if bar is not None:
        micrograph = micrograph.crop(0, 0, bar, micrograph.shape[1])
    with Bar(console=errors, transient=True) as progress:
        task = progress.add_task(micrograph.name, total=1.0)
        found = segment(micrograph, settings, models, lambda p: progress.update(task, completed=p.share))
    crystals = measure_crystals(found.labels, micrograph.um_per_px, found.confidence)
    summary = summarise(crystals, micrograph.shape, settings.measuring.border_rule)
    run = describe(micrograph, found, summary, details=details.words(), profile=profile.name if profile else "")
    report = report_of(micrograph, found, crystals, summary, run, details, profile)
    run = report.parts[0].run
    record(engine, run)
    (out / f"{name}_labels.tif").write_bytes(labels_tiff(found.labels, micrograph.um_per_px))
    (out / f"{name}_crystals.csv").write_bytes(crystals_csv(crystals))
    (out / f"{name}_report.pdf").write_bytes(issue(engine, [run.id], "PDF", build_pdf(report), details.operator))
    (out / f"{name}_run.json").write_text(run.to_json())
    notes = [*micrograph.notes, *([f"The data bar below row {bar} was left out."] if bar is not None else [])]
    result = size_rows(summary)[0][1] if summary else "no crystal counts"
    if report.assessment is not None and report.assessment.outcome:
        notes.append(f"Verdict: {report.assessment.outcome}.")
    print(f"{micrograph.name}: {len(crystals)} crystals, average size {result}", *notes)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of <id>.png and <id>_label.png.")],
    method: _Method = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    settings_file: _SettingsFile = None,
    weights: _Weights = None,
    flow_model: _FlowModel = None,
) -> None:
    """Score a folder of labelled images: PQ, AJI and crystal size errors."""
    from crystalseg.baselines import segment
    from crystalseg.evaluate.folder import evaluate_folder

    settings = _settings(settings_file, method)
    models = _models(weights, flow_model)

    def line(name: str, figures: dict) -> None:
        print(f"{name}: " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))

    result = evaluate_folder(folder, lambda m: segment(m, settings, models).labels, line)
    line("mean", result["mean"])
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2))


@app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="Folder of <id>.png and <id>_label.png of one kind of material.")],
    kind: Annotated[str, typer.Option(help="What the material is called, in profiles and reports.")],
    method: _Method = None,
    into: Annotated[Path | None, typer.Option(help="File to keep it in; else the one of this machine.")] = None,
    settings_file: _SettingsFile = None,
    weights: _Weights = None,
) -> None:
    """Measure what a method's figures are off by on labelled images; reports then state it as an uncertainty."""
    from crystalseg.baselines import segment
    from crystalseg.micrograph import read_pairs
    from crystalseg.validation import keep, own
    from crystalseg.validation import validate as measure

    settings = _settings(settings_file, method)
    models = _models(weights)
    rule = settings.measuring.border_rule
    made = measure(
        read_pairs(folder), lambda m: segment(m, settings, models).labels, kind, settings.method, rule, print
    )
    keep(made, into or own())
    print(f"{made.words}: kept in {into or own()}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; made if missing.")],
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same images.")] = 0,
    grains: Annotated[bool, typer.Option(help="The paper's grain cut-outs, its three classes in turn.")] = False,
    benchmark: Annotated[
        bool, typer.Option(help="The benchmark: 313 grains in train, val and test; count and seed are fixed.")
    ] = False,
) -> None:
    """Write synthetic micrographs with exact labels, as <id>.png and <id>_label.png."""
    from crystalseg.evaluate.benchmark import IMAGES, write_benchmark
    from crystalseg.report.export import write_pair
    from crystalseg.synth import draw_grain, draw_random

    if benchmark:
        write_benchmark(folder)
        print(f"{IMAGES} images in {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        made = draw_grain(seed, i, 1 + i % 3) if grains else draw_random(seed, i)
        write_pair(folder, f"{seed}_{i:04d}", made.image, made.labels)
    print(f"{count} images in {folder}")


class Experiment(StrEnum):
    table1 = "table1"
    table2 = "table2"
    table3 = "table3"
    figure4 = "figure4"
    crossval = "crossval"
    reliability = "reliability"
    clicks = "clicks"


@app.command()
def experiment(
    name: Annotated[Experiment, typer.Argument(help="One of the paper's comparisons, or one of ours.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of <id>.png and <id>_label.png; without it, the benchmark's test part.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for CSV, Markdown and figure; made if missing.")] = Path("results"),
    methods: Annotated[str, typer.Option(help="Methods to compare, by name, with commas; else all of ours.")] = "",
    weights: _Weights = None,
) -> None:
    """A comparison on labelled images: CSV and Markdown tables. Called again, the paper's go on where they stopped."""
    from crystalseg.evaluate.benchmark import write_benchmark
    from crystalseg.evaluate.experiments import COMPARED, conduct

    if data is None:
        data = out / "benchmark" / "test"
        if not data.is_dir():
            write_benchmark(data.parent)
    chosen = [m.strip() for m in methods.split(",") if m.strip()] or list(COMPARED)
    print(conduct(name.value, data, chosen, _models(weights), out, lambda line: errors.print(line, style="dim")))


@app.command()
def train(
    network: Annotated[Network, typer.Argument(help="Which network.")],
    out: Annotated[Path, typer.Option(help="Folder for weights, checkpoint and loss curve.")] = Path("training"),
    data: Annotated[list[Path], typer.Option(help="Folder of <id>.png and <id>_label.png; may be repeated.")] = [],  # noqa: B006
    validation: Annotated[list[Path], typer.Option(help="As --data, to choose the best weights on.")] = [],  # noqa: B006
    start: Annotated[
        Path | None, typer.Option("--from", help="Weights to begin from (confidence: their folder).")
    ] = None,
    recipe: Annotated[str, typer.Option(help='Changes to the recipe, JSON, e.g. {"diameter": 30}.')] = "{}",
    budget: Annotated[str, typer.Option(help='Changes to the budget, JSON, e.g. {"minutes": 60, "batch": 8}.')] = "{}",
) -> None:
    """Train a network; called again with the same --out it goes on where it stopped."""
    from crystalseg.train import boundary, cellpose, confidence, sima, size
    from crystalseg.train.loop import Order

    modules = {"cellpose": cellpose, "sima": sima, "size": size, "confidence": confidence, "boundary": boundary}
    path = modules[network.value].train(Order(out, data, validation, start, recipe, budget))
    print(f"\n{path}")


@app.command()
def profile(
    file: Annotated[Path, typer.Argument(help="Profile JSON, as the app exports it.")],
    operator: Annotated[str, typer.Option(help="Who puts it on record.")] = "",
) -> None:
    """Put a profile on record, for `batch` and the app."""
    from crystalseg.profiles import Profile, save
    from crystalseg.runs import open_database

    try:
        made = Profile.from_json(file.read_text())
    except OSError as error:
        raise ValueError(f"{file}: cannot be opened ({error.strerror}).") from error
    save(open_database(), made, operator)
    print(f"Profile '{made.name}' is on record.")


@app.command("batch")
def run_batch(
    source: Annotated[Path, typer.Argument(help="Folder or ZIP file of images.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; called again with it, the batch goes on.")],
    profile_name: Annotated[
        str, typer.Option("--profile", help="Profile on record, or a product for its default; else default settings.")
    ] = "",
    um_per_px: _UmPerPx = None,
    uncertainty: _Percent = None,
    instrument: _Instrument = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes of this machine.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler, in place of --workers.")] = None,
    go_on: Annotated[bool, typer.Option(help="Go on with the batch in --out as it was begun.")] = False,
) -> None:
    """Measure many images with one profile; Ctrl-C pauses, the same command goes on.

    A pixel size that is given holds for all images; one that states another is not measured.
    """
    from crystalseg import batch
    from crystalseg.profiles import Profile, find
    from crystalseg.runs import open_database

    engine = open_database()
    if go_on:
        made = batch.load(out)
    else:
        chosen = find(engine, profile_name) if profile_name else Profile("default settings")
        known = _calibration(engine, um_per_px, uncertainty, instrument)
        made = batch.prepare(out, source, chosen, known)
        batch.ask(out, "")
    try:
        state = batch.run(out, engine, workers, scheduler, print)
    except KeyboardInterrupt:
        print("Paused: the same command goes on with it.")
        raise typer.Exit(130) from None
    print(f"{state.done} of {len(made.names)} images measured, {len(state.reasons)} failed: {state.state}; see {out}")
    if state.reasons:
        raise typer.Exit(2)


@app.command()
def audit(
    run_id: Annotated[
        str, typer.Argument(help="Also measure this run's stored labels again; or a report's file, for its run.")
    ] = "",
    segment_again: Annotated[
        bool, typer.Option("--segment", help="And segment its stored image again with the present networks.")
    ] = False,
) -> None:
    """Check that nothing in the record was changed; exit code 1 and a sentence for each thing that was."""
    from crystalseg import ledger
    from crystalseg.runs import find, issued, open_database

    engine = open_database()
    problems = list(ledger.audit(engine))
    runs = [run_id] if run_id else []
    if Path(run_id).is_file():
        report = issued(engine, Path(run_id).read_bytes())
        runs = report.body["runs"]
        print(f"This is the report of run {', '.join(runs)}, issued {report.created[:19]} UTC.")
    if runs and not problems:
        models = _models(None) if segment_again else None
        problems = [problem for one in runs for problem in _recomputed(engine, find(engine, one), models)]
    for problem in problems:
        _complain(problem)
    if problems:
        raise typer.Exit(1)
    more = f"; run {', '.join(runs)} gives the figures on record" if runs else ""
    print(f"The record is as it was written{more}.")


def _recomputed(engine, run, models) -> list[str]:
    """What differs between a run on record and its stored labels, or with `models` its stored image segmented again."""
    from dataclasses import replace

    from crystalseg.runs import reopen, same_figures

    reopened = reopen(run)
    if not same_figures(reopened):
        return [f"Run {run.id}: its stored labels do not give the figures on record."]
    if models is not None:
        from crystalseg.recompute import recompute

        summary = recompute(engine, reopened, models)
        if not same_figures(replace(reopened, summary=summary)):
            found = summary.average.value if summary else "none"
            was = run.figures["average"]["value"] if run.figures else "none"
            return [f"Run {run.id}: segmented again, its average is {found} instead of {was}."]
    return []


@app.command("app", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context) -> None:
    """Open the web app. Options are handed to Streamlit, e.g. --server.port 8600."""
    from crystalseg import samples

    samples.prepare(report=typer.echo)
    # What the pages need is loaded before anybody visits them, not while the first visitor waits.
    import plotly.graph_objects  # noqa: F401
    from streamlit.web.cli import main as streamlit

    import crystalseg.baselines
    import crystalseg.correct
    import crystalseg.layers
    import crystalseg.report.pdf  # noqa: F401

    # Streamlit collects garbage after each run of a page: with these libraries' objects it takes most of a second.
    gc.freeze()
    try:
        streamlit(["run", str(Path(__file__).parents[1] / "app.py"), *context.args])
    finally:
        gc.unfreeze()  # else libraries complain of leaks at the end


@app.command(hidden=True)
def worker() -> None:
    """Serve the app's queue (the app starts this itself)."""
    from crystalseg.jobs import work

    work()
