"""Run the paper's comparisons (sections V-A to V-D) on any folder of labelled images.

Every score of every image is written to one CSV file at once, and existing scores are not computed again. An experiment
can therefore be interrupted, and experiments share scores. Methods that run the flow network at the same resize factor
on the same image share its output. Latency is therefore measured separately.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from crystalseg.errors import UserError
from crystalseg.evaluation import clicks
from crystalseg.evaluation.charts import reliability_svg, scatter, trade_svg
from crystalseg.evaluation.metrics import by_octave, overlap, score
from crystalseg.evaluation.reliability import expected_calibration_error, is_right, reliability
from crystalseg.evaluation.tables import (
    clicks_by_octave,
    clicks_table,
    crossval,
    differences,
    effort_table,
    figure4,
    markdown,
    octave_table,
    table1,
    table2,
    table3,
)
from crystalseg.micrographs.labels import size_class
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.micrographs.pairs import read_pairs
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.effort import EFFORTS
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.hub import described
from crystalseg.segmentation.methods import HUB, NAMED, PROMPTED
from crystalseg.segmentation.models import Models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Settings
from crystalseg.segmentation.version_1 import instances_text

LATENCY_IMAGES = 6
COMPARED = tuple(name for name in NAMED if name != "cellpose-maximum")
# Table I: resize factors by N; the size thresholds for each N are the paper's.
LADDERS_OF = {2: (None, 1.0), 3: (None, 0.5, 1.0), 4: (None, 0.5, 0.75, 1.0)}


@dataclass(frozen=True)
class Contender:
    """One row of a table: its name in the table, and its settings."""

    name: str
    settings: Settings


class SharedPyramid(Pyramid):
    """A pyramid that keeps the output of the flow network at each factor. All tiles are computed, including tiles that
    SiMA would skip for lack of weight. Enlargements are not kept, because SiMA+ enlarges only some tiles."""

    def __init__(self, models: Models, pixels: np.ndarray):
        super().__init__(models, pixels)
        self._known: dict[tuple[str, float, bool], ScalePrediction] = {}

    def flow(
        self,
        network: str,
        factor: float,
        corners: list[tuple[int, int]] | None = None,
        report: Callable[[int], None] = lambda _: None,
        exact: bool = False,
    ) -> ScalePrediction:
        if factor > 1:
            return super().flow(network, factor, corners, report, exact)
        key = network, factor, exact
        if key not in self._known:
            self._known[key] = super().flow(network, factor, None, report, exact)
        return self._known[key]


def contenders(names: Iterable[str] = COMPARED) -> list[Contender]:
    """Return methods by name, as `Settings.called` reads them, with the default settings."""
    return [Contender(name, Settings.called(name)) for name in names]


def table1_contenders() -> list[Contender]:
    """Return average and attention at N = 2, 3 and 4. SiMA was trained for N = 4; for fewer, its levels are
    regrouped."""
    return [
        Contender(f"N = {n}, {words}", Settings(method, Scales(factors)))
        for n, factors in LADDERS_OF.items()
        for words, method in (("average", "cellpose-multiscale"), ("attention", "sima"))
    ]


def run(
    folder: Path,
    wanted: Sequence[Contender],
    models: Models,
    out: Path,
    report: Callable[[str], None] = lambda _: None,
) -> pd.DataFrame:
    """Score all contenders on all images of `folder` and return their rows of `out`/scores.csv.

    One row per image and contender: image, class, contender, weights, and the figures of `metrics.score`; octaves as
    text.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scores.csv"
    earlier = pd.read_csv(path, dtype={"image": str}) if path.exists() else pd.DataFrame()
    keys = ["image", "contender", "weights", "settings"]
    done = set(map(tuple, earlier[keys].astype(str).to_numpy())) if len(earlier) else set()
    for micrograph, truth in read_pairs(folder):
        pyramid = None
        for c in wanted:
            known = [(micrograph.name, c.name, _weights(c, models), settings) for settings in _keys(c.settings)]
            if done.intersection(known):
                continue
            key = known[0]
            pyramid = pyramid or SharedPyramid(models, micrograph.pixels)
            # a shared pyramid covers all tiles, but a lower effort must only see its own
            own = pyramid if c.settings.effort == Settings.effort else None
            row = dict(zip(keys, key, strict=True)) | _figures(micrograph, truth, c, models, own)
            pd.DataFrame([row]).to_csv(path, mode="a", header=not path.exists(), index=False)
            report(f"{micrograph.name}  {c.name}  PQ {row['pq']:.3f}")
    rows = pd.read_csv(path, dtype={"image": str})
    images = {p.stem.removesuffix("_label") for p in folder.glob("*_label.png")}
    chosen = {(c.name, _weights(c, models), settings) for c in wanted for settings in _keys(c.settings)}
    mine = np.array([key in chosen for key in rows[keys[1:]].fillna("").itertuples(index=False, name=None)], bool)
    return rows[mine & rows["image"].isin(images)].reset_index(drop=True)


def _weights(c: Contender, models: Models) -> str:
    """Return the weights on which a contender's labels depend."""
    name, _, model = c.settings.method.partition(":")
    if name in (HUB, PROMPTED):
        return described(Path(model))
    return " ".join(models.hashes.get(name, "")[:8] for name in c.settings.networks) or "none"


def _keys(settings: Settings) -> tuple[str, str]:
    """Return the part of the settings on which the labels depend: as rows state it, and as they did up to release
    0.1."""
    text = f"{settings.full_method} {settings.scales.factors} {instances_text(settings.instances)}"
    return canonical([settings.full_method, settings.scales.factors, settings.instances]), text


def _figures(micrograph: Micrograph, truth: np.ndarray, c: Contender, models: Models, pyramid: Pyramid | None) -> dict:
    labels = segment(micrograph, c.settings, models, pyramid=pyramid).labels
    octaves = by_octave(overlap(truth, labels))
    text = ";".join(f"{k}:" + ",".join(f"{v:.6g}" for v in sums) for k, sums in octaves.items())
    return {"class": size_class(truth)} | score(truth, labels) | {"octaves": text}


def latency(folder: Path, wanted: Sequence[Contender], models: Models) -> pd.DataFrame:
    """Return seconds per image (mean ± sd over LATENCY_IMAGES, evenly chosen) and number of parameters of each
    contender. Contenders run one after another on every image and share nothing."""
    pairs = read_pairs(folder)
    images = [pairs[i][0] for i in np.linspace(0, len(pairs) - 1, min(LATENCY_IMAGES, len(pairs))).round().astype(int)]
    segment(images[0], wanted[0].settings, models)  # so that compilation on first use is not timed
    seconds: dict[str, list[float]] = {c.name: [] for c in wanted}
    for micrograph in images:
        for c in wanted:
            began = time.perf_counter()
            segment(micrograph, c.settings, models)
            seconds[c.name].append(time.perf_counter() - began)
    return pd.DataFrame(
        {
            "contender": list(seconds),
            "parameters": [models.parameters(c.settings) for c in wanted],
            "seconds": [np.mean(s) for s in seconds.values()],
            "seconds_sd": [np.std(s) for s in seconds.values()],
        }
    )


def conduct(
    name: str, folder: Path, methods: Sequence[str], models: Models, out: Path, report: Callable[[str], None]
) -> str:
    """Run one experiment by name; write `out`/<name>.csv and <name>.md (and a figure as SVG), and return the
    Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    if name == "reliability":
        table, error = reliability_of(folder, models, report)
        chart = reliability_svg(*(table[key].tolist() for key in ("confidence", "right", "count")))
        (out / "reliability.svg").write_text(chart)
        table.to_csv(out / "reliability.csv", index=False)
        text = f"{markdown(table.round(3))}\n\nExpected calibration error: {error:.3f}"
        (out / "reliability.md").write_text(text + "\n")
        return text
    if name == "clicks":
        images, crystals = clicks_of(folder, models, out, report)
        tables = {"": clicks_table(images, crystals), "octaves": clicks_by_octave(crystals)}
    elif name == "table1":
        tables = {"": table1(run(folder, table1_contenders(), models, out, report))}
    elif name == "effort":
        compared = contenders([Settings().short_method, *(f"{Settings().method}/{e}" for e in list(EFFORTS)[-2::-1])])
        rows, spent = run(folder, compared, models, out, report), latency(folder, compared, models)
        tables = {"": effort_table(rows, spent, compared[0].name)}
        quality = rows.groupby("contender")["pq"].mean()
        points = {name: (quality[name], seconds) for name, seconds in spent.set_index("contender")["seconds"].items()}
        (out / "effort.svg").write_text(trade_svg(points))
    else:
        compared = contenders(methods)
        rows = run(folder, compared, models, out, report)
        if name == "table2":
            tables = {"": table2(rows, latency(folder, compared, models)), "octaves": octave_table(rows)}
        elif name == "table3":
            tables = {"": table3(rows)}
        elif name == "figure4":
            tables = {"": figure4(rows)}
            (out / "figure4.svg").write_text(scatter(rows))
        else:
            tables = {"": (crossval if name == "crossval" else differences)(rows, methods[0])}
    for suffix, table in tables.items():
        table.to_csv(out / f"{name}{'_' * bool(suffix)}{suffix}.csv", index=False)
    text = "\n\n".join(markdown(table) for table in tables.values())
    (out / f"{name}.md").write_text(text + "\n")
    return text


def reliability_of(folder: Path, models: Models, report: Callable[[str], None]) -> tuple[pd.DataFrame, float]:
    """Return reliability table and expected calibration error of SiMA+'s confidence over all crystals in `folder`."""
    sure, right = [], []
    for micrograph, truth in read_pairs(folder):
        segmentation = segment(micrograph, Settings(), models)
        sure.append(segmentation.confidence)
        right.append(is_right(truth, segmentation.labels, len(segmentation.confidence)))
        report(f"{micrograph.name}  {len(segmentation.confidence)} crystals, {right[-1].sum()} right")
    if not sum(map(len, sure)):
        raise UserError(f"{folder}: no crystal was found, so no confidence can be compared with the truth.")
    table = reliability(np.concatenate(sure), np.concatenate(right))
    return table, expected_calibration_error(table)


def clicks_of(
    folder: Path, models: Models, out: Path, report: Callable[[str], None]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `clicks.figures` of the results of the default method, one row per image and one row per crystal, and
    write them to `out`/clicks_images.csv and clicks_crystals.csv."""
    network = models.networks.get("clicks")
    rows, crystals = [], []
    for micrograph, truth in read_pairs(folder):
        segmentation = segment(micrograph, Settings(), models)
        figures, single = clicks.figures(segmentation, micrograph.pixels, truth, network)
        row = {"image": micrograph.name} | figures
        rows.append(row)
        crystals += [{"image": micrograph.name} | crystal for crystal in single]
        report("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    tables = pd.DataFrame(rows), pd.DataFrame(crystals)
    for table, kind in zip(tables, ("images", "crystals"), strict=True):
        table.to_csv(out / f"clicks_{kind}.csv", index=False)
    return tables
