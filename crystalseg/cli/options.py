"""Options that several commands share, and their values."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalseg.errors import UserError
from crystalseg.segmentation.methods import METHODS

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crystalseg.measurement.uncertainty import Validation
    from crystalseg.micrographs.calibration import Calibration
    from crystalseg.record.profiles import Profile
    from crystalseg.segmentation.models import Models
    from crystalseg.segmentation.settings import Settings

Weights = Annotated[Path | None, typer.Option(help="Folder with cellpose.safetensors and the other weights.")]
FlowModel = Annotated[
    Path | None, typer.Option(help="A Cellpose 2 or 3 model file to use as the flow network, including for SiMA+.")
]
MethodName = Annotated[
    str | None,
    typer.Option(
        help=", ".join(f"{name}:MODEL" if method.model else name for name, method in METHODS.items())
        + "; sima-plus@NETWORK/EFFORT."
    ),
]
ModelName = Annotated[
    str,
    typer.Option("--model", help="Model on record: NAME (the latest version) or NAME:VERSION."),
]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="Settings JSON, as saved by the app.")]
UmPerPx = Annotated[float | None, typer.Option(help="Pixel size, µm; default: from the file's metadata.")]
Percent = Annotated[float | None, typer.Option("--uncertainty", help="Standard uncertainty of --um-per-px, %.")]
InstrumentName = Annotated[
    str, typer.Option("--calibration", help="Name of a calibration on record, as saved in the app.")
]

ProfileName = Annotated[
    str,
    typer.Option("--profile", help="Profile on record, or a product for its default profile; else default settings."),
]

NegativeBackground = Annotated[
    bool, typer.Option("--negative-background", help="In label images, numbers below 0 are background.")
]

Formats = Annotated[
    str,
    typer.Option(help="Files to write for each image, such as pdf,csv,labels; an unknown name lists all."),
]
Operator = Annotated[str, typer.Option(help="Your name, for the record.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler whose workers compute.")]


def text_in(path: Path) -> str:
    """Return the text of a file in UTF-8. Raises UserError if the file cannot be opened or is not text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file. Save it as text in UTF-8.") from error


def ordered(
    engine: "Engine", profile_name: str, um_per_px: float | None, uncertainty: float | None, instrument: str
) -> "tuple[Profile, Calibration | None]":
    """Return the profile and the pixel size with which a batch or a mosaic starts."""
    from crystalseg.record.profiles import Profile, find

    profile = find(engine, profile_name) if profile_name else Profile("default settings")
    return profile, calibration_from(engine, um_per_px, uncertainty, instrument)


def chosen(
    engine: "Engine",
    settings_file: Path | None,
    method: str | None,
    profile_name: str,
    model: str = "",
    only: str = "",
    effort: str = "",
) -> "tuple[Settings, Profile | None, Validation | None]":
    """Return the settings from a file and a method, or from a profile with that profile, and the method's validation.
    `only` restricts which crystals count, and `effort` replaces the effort, if given."""
    from dataclasses import replace

    from crystalseg.record import profiles, validations

    if profile_name and (settings_file is not None or method is not None or model):
        raise UserError("A profile has its own settings. Leave out --settings, --method and --model.")
    profile = profiles.find(engine, profile_name) if profile_name else None
    settings = profile.settings if profile else settings_from(settings_file, method, model)
    if only:
        settings = replace(settings, measuring=replace(settings.measuring, only=only))
    if effort:
        settings = replace(settings, effort=effort)
    return settings, profile, validations.lookup(profile, settings)


def settings_from(path: Path | None, method: str | None, model: str = "") -> "Settings":
    """Return the settings of a file, or the default settings, with another method (as `Settings.called` reads it) or a
    model on record if given."""
    from dataclasses import fields, replace

    from crystalseg.segmentation.settings import Settings

    settings = Settings()
    if path is not None:
        settings = Settings.from_json(text_in(path))
    if method is not None:
        others = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "method"}
        settings = Settings.called(method, **others)
    if model:
        from crystalseg.record.database import open_database
        from crystalseg.record.models import find

        settings = replace(settings, network=find(open_database(), model).setting)
    return settings


def on_flow_model(settings: "Settings", flow_model: Path | None) -> "Settings":
    """Return the settings, with the user's model file (in CPNet's place) as SiMA+'s flow network if there is one."""
    from dataclasses import replace

    return settings if flow_model is None else replace(settings, network="cellpose")


def calibration_from(
    engine: "Engine", um_per_px: float | None, percent: float | None, name: str
) -> "Calibration | None":
    """Return the pixel size given by hand or by the name of a calibration on record, or None."""
    from crystalseg.micrographs.calibration import from_um_per_px
    from crystalseg.record.instruments import find

    if name and um_per_px is not None:
        raise UserError("Give either --um-per-px or --calibration, not both.")
    if percent is not None and um_per_px is None:
        raise UserError("--uncertainty belongs to --um-per-px. Give both.")
    if name:
        return find(engine, name).calibration()
    return None if um_per_px is None else from_um_per_px(um_per_px, percent)


def models_from(weights: Path | None, flow_model: Path | None = None, settings: "Settings | None" = None) -> "Models":
    """Return the networks of a folder, or the shipped ones, with the model on record that `settings` name."""
    from crystalseg.networks import DIRECTORY
    from crystalseg.segmentation.models import load_models, with_taught

    models = load_models(weights or DIRECTORY, flow_file=flow_model)
    if settings is None or not settings.model:
        return models
    from crystalseg.record.database import open_database
    from crystalseg.record.models import taught

    return with_taught(models, taught(open_database(), settings))
