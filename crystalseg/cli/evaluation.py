"""Commands that compare with the truth: evaluate, validate, experiment, synth."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crystalseg.cli.app import app, errors
from crystalseg.cli.options import (
    FlowModel,
    MethodName,
    ModelName,
    NegativeBackground,
    Operator,
    ProfileName,
    SettingsFile,
    Weights,
    chosen,
    models_from,
    on_flow_model,
    settings_from,
)
from crystalseg.errors import UserError


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder with <id>.png and <id>_label.png.")],
    method: MethodName = None,
    model: ModelName = "",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
    settings_file: SettingsFile = None,
    weights: Weights = None,
    flow_model: FlowModel = None,
    negative: NegativeBackground = False,
) -> None:
    """Score a folder of labelled images: PQ, AJI and crystal size errors."""
    from crystalseg.evaluation.folder import evaluate_folder
    from crystalseg.segmentation.pipeline import segment

    settings = on_flow_model(settings_from(settings_file, method, model), flow_model)
    models = models_from(weights, flow_model, settings)

    def line(name: str, figures: dict) -> None:
        print(f"{name}: " + "  ".join(f"{key} {value:.3f}" for key, value in figures.items()))

    result = evaluate_folder(folder, lambda m: segment(m, settings, models).labels, line, negative)
    line("mean", result["mean"])
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2))


@app.command()
def validate(
    folder: Annotated[Path, typer.Argument(help="Folder with <id>.png and <id>_label.png of one kind of material.")],
    kind: Annotated[
        str, typer.Option(help="Name of the material in profiles and reports; default: that of the profile.")
    ] = "",
    profile_name: ProfileName = "",
    method: MethodName = None,
    model: ModelName = "",
    into: Annotated[
        Path | None, typer.Option(help="File to save it to; default: that of this machine, and on record.")
    ] = None,
    operator: Operator = "",
    settings_file: SettingsFile = None,
    weights: Weights = None,
    negative: NegativeBackground = False,
) -> None:
    """Measure the errors of a method's figures on labelled images; reports then include them in the uncertainty.

    The result holds for these thresholds and weights only. With --profile they are those of the profile.
    """
    from dataclasses import replace

    from crystalseg.evaluation.validation import validate as measure
    from crystalseg.micrographs.pairs import read_pairs
    from crystalseg.record.database import open_database
    from crystalseg.record.validations import keep, keep_own, own
    from crystalseg.segmentation.pipeline import segment

    engine = open_database()
    settings, profile, _ = chosen(engine, settings_file, method, profile_name, model)
    kind = kind or (profile.kind if profile else "")
    if not kind:
        raise UserError("Name the material: --kind NAME.")
    models = models_from(weights, settings=settings)
    rule = settings.measuring.border_rule
    pairs = read_pairs(folder, negative)
    validation = measure(pairs, lambda m: segment(m, settings, models).labels, kind, settings.full_method, rule, print)
    validation = replace(validation, conditions=settings.conditions, weights=models.used_by(settings)[0])
    if into:
        keep(validation, into)
    else:
        keep_own(engine, validation, operator)
    print(f"{validation.words}: saved to {into or own()}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Folder to write to; created if missing.")],
    count: Annotated[int, typer.Option(min=1, help="Number of images.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    grains: Annotated[bool, typer.Option(help="Grain cut-outs as in the paper, its three classes in turn.")] = False,
    flat: Annotated[
        bool, typer.Option(help="Particles and ground of uniform brightness, either of them the darker one.")
    ] = False,
    benchmark: Annotated[
        bool, typer.Option(help="The benchmark: 313 grains in train, val and test; ignores count and seed.")
    ] = False,
) -> None:
    """Write synthetic micrographs with exact labels, as <id>.png and <id>_label.png."""
    from crystalseg.evaluation.benchmark import IMAGES, write_benchmark
    from crystalseg.micrographs.pairs import write_pair
    from crystalseg.synthetic.sets import draw_flat, draw_grain, draw_random

    if grains + flat + benchmark > 1:
        raise UserError("Use only one of --grains, --flat and --benchmark.")
    if benchmark:
        write_benchmark(folder)
        print(f"{IMAGES} images in {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        drawn = draw_grain(seed, i, 1 + i % 3) if grains else (draw_flat if flat else draw_random)(seed, i)
        write_pair(folder, f"{seed}_{i:04d}", drawn.image, drawn.labels)
    print(f"{count} images in {folder}")


class Experiment(StrEnum):
    table1 = "table1"
    table2 = "table2"
    table3 = "table3"
    figure4 = "figure4"
    crossval = "crossval"
    differences = "differences"
    reliability = "reliability"
    effort = "effort"
    clicks = "clicks"


@app.command()
def experiment(
    name: Annotated[Experiment, typer.Argument(help="A comparison of the paper, or one of ours.")],
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder with <id>.png and <id>_label.png; default: the test part of the benchmark, or for "
            "differences the validation images."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for CSV, Markdown and figure; created if missing.")] = Path(
        "results"
    ),
    methods: Annotated[
        str, typer.Option(help="Methods to compare, separated by commas; also sima-plus@NETWORK and hub:PATH.")
    ] = "",
    weights: Weights = None,
) -> None:
    """Run a comparison on labelled images: CSV and Markdown tables. Run again, the paper's continue where they
    stopped."""
    from crystalseg.evaluation.benchmark import write_benchmark, write_validation
    from crystalseg.evaluation.experiments import COMPARED, conduct

    if data is None:
        choosing = name == Experiment.differences
        data = out / "validation" if choosing else out / "benchmark" / "test"
        if not data.is_dir():
            write_validation(data) if choosing else write_benchmark(data.parent)
    compared = [m.strip() for m in methods.split(",") if m.strip()] or list(COMPARED)
    print(conduct(name.value, data, compared, models_from(weights), out, lambda line: errors.print(line, style="dim")))
