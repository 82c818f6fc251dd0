"""The paper's comparisons (sections V-A to V-D) on any folder of labelled images.

Every score of every image goes into one CSV file as soon as it is known; what is there already is not computed again,
so that an experiment can be interrupted, and experiments share what they have in common. Methods that run the flow
network at the same resize factor on the same image share that too; latency is therefore measured apart, alone.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from crystalseg.baselines import segment
from crystalseg.evaluate import clicks
from crystalseg.evaluate.benchmark import folds
from crystalseg.evaluate.metrics import by_octave, octave_quality, overlap, score, size_class
from crystalseg.evaluate.reliability import calibration_error, is_right, reliability
from crystalseg.fusion import ScalePrediction
from crystalseg.micrograph import Micrograph, read_pairs
from crystalseg.pipeline import Models, View
from crystalseg.report.charts import reliability_svg, scatter_svg
from crystalseg.report.export import append_row
from crystalseg.settings import Instances, Scales, Settings

LATENCY_IMAGES = 6
COMPARED = (
    "sima-plus", "sima", "cellpose-original", "cellpose-multiscale", "cellpose-noresize", "two-scale", "boundary",
    "watershed",
)  # fmt: skip
# Least confidence of crystals found on fused flows: on val better for those methods than the default, SiMA+'s best.
FLOW_CONFIDENCE = 0.35
# Table I: resize factors by N; the thresholds are the paper's for each N.
LADDERS_OF = {2: (None, 1.0), 3: (None, 0.5, 1.0), 4: (None, 0.5, 0.75, 1.0)}
# What each method's latency and size include, besides post-processing.
NETWORKS = {
    "sima-plus": ("flow", "confidence"), "sima": ("flow", "attention"),
    "cellpose-original": ("flow", "size"), "boundary": ("boundary",), "watershed": (),
}  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """One line of a table: its name there, and the settings that make it."""

    name: str
    settings: Settings


class SharedView(View):
    """A view that keeps what the flow network said at each factor. All tiles are computed, also where SiMA would leave
    some out for lack of weight; but what enlarges is not kept, because SiMA+ enlarges some tiles only."""

    def __init__(self, models: Models, pixels: np.ndarray):
        super().__init__(models, pixels)
        self._known: dict[float, ScalePrediction] = {}

    def flow(self, factor: float, corners=None, report: Callable[[int], None] = lambda _: None) -> ScalePrediction:
        if factor > 1:
            return super().flow(factor, corners, report)
        if factor not in self._known:
            self._known[factor] = super().flow(factor, None, report)
        return self._known[factor]


def contenders(names: Iterable[str] = COMPARED) -> list[Contender]:
    """Methods by name, with the settings that are best for them on validation images."""
    return [Contender(name, _settings(name)) for name in names]


def _settings(method: str, factors: tuple[float | None, ...] = ()) -> Settings:
    choice = Instances() if method == "sima-plus" else Instances(min_confidence=FLOW_CONFIDENCE)
    return Settings(method, Scales(factors), choice)


def table1_contenders() -> list[Contender]:
    """Average and attention at N = 2, 3 and 4. SiMA was trained for N = 4; its levels are regrouped for fewer."""
    return [
        Contender(f"N = {n}, {words}", _settings(method, factors))
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
    """Score all contenders on all images of `folder`; returns the rows of `out`/scores.csv that belong to them.

    One row an image and contender: image, class, contender, weights, and `metrics.score`'s figures, octaves as text.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "scores.csv"
    known = pd.read_csv(path, dtype={"image": str}) if path.exists() else pd.DataFrame()
    keys = ["image", "contender", "weights", "settings"]
    done = set(map(tuple, known[keys].astype(str).to_numpy())) if len(known) else set()
    for micrograph, truth in read_pairs(folder):
        view = None
        for c in wanted:
            settings = _short(c.settings)
            key = (micrograph.name, c.name, _weights(c, models), settings)
            if key in done:
                continue
            view = view or SharedView(models, micrograph.pixels)
            row = dict(zip(keys, key, strict=True)) | _figures(micrograph, truth, c, models, view)
            append_row(path, row)
            report(f"{micrograph.name}  {c.name}  PQ {row['pq']:.3f}")
    rows = pd.read_csv(path, dtype={"image": str})
    images = {p.stem.removesuffix("_label") for p in folder.glob("*_label.png")}
    chosen = {(c.name, _weights(c, models), _short(c.settings)) for c in wanted}
    mine = np.array([key in chosen for key in rows[keys[1:]].fillna("").itertuples(index=False, name=None)], bool)
    return rows[mine & rows["image"].isin(images)].reset_index(drop=True)


def _weights(c: Contender, models: Models) -> str:
    """Which weights decide a contender's labels."""
    names = {"flow": "cellpose", "attention": "sima"}
    networks = [names.get(n, n) for n in NETWORKS.get(c.settings.method, ("flow",))]
    return " ".join(models.hashes.get(n, "")[:8] for n in networks) or "none"


def _short(settings: Settings) -> str:
    """What of the settings decides the labels."""
    i = settings.instances
    return f"{settings.method} {settings.scales.factors} {i.foreground_threshold:g} {i.min_area} {i.min_confidence:g}"


def _figures(micrograph: Micrograph, truth: np.ndarray, c: Contender, models: Models, view: View) -> dict:
    labels = segment(micrograph, c.settings, models, view=view).labels
    octaves = by_octave(overlap(truth, labels))
    text = ";".join(f"{k}:" + ",".join(f"{v:.6g}" for v in sums) for k, sums in octaves.items())
    return {"class": size_class(truth)} | score(truth, labels) | {"octaves": text}


def latency(folder: Path, wanted: Sequence[Contender], models: Models) -> pd.DataFrame:
    """Seconds an image (mean ± sd over LATENCY_IMAGES, evenly chosen) and parameters of each contender, one after the
    other on every image, nothing shared."""
    pairs = read_pairs(folder)
    images = [pairs[i][0] for i in np.linspace(0, len(pairs) - 1, min(LATENCY_IMAGES, len(pairs))).round().astype(int)]
    segment(images[0], wanted[0].settings, models)  # compiles what is compiled on first use
    seconds = {c.name: [] for c in wanted}
    for micrograph in images:
        for c in wanted:
            began = time.perf_counter()
            segment(micrograph, c.settings, models)
            seconds[c.name].append(time.perf_counter() - began)
    return pd.DataFrame(
        {
            "contender": list(seconds),
            "parameters": [_parameters(c.settings.method, models) for c in wanted],
            "seconds": [np.mean(s) for s in seconds.values()],
            "seconds_sd": [np.std(s) for s in seconds.values()],
        }
    )


def _parameters(method: str, models: Models) -> int:
    networks = [getattr(models, name) for name in NETWORKS.get(method, ("flow",))]
    return sum(p.numel() for network in networks if network is not None for p in network.parameters())


def conduct(
    name: str, folder: Path, methods: Sequence[str], models: Models, out: Path, report: Callable[[str], None]
) -> str:
    """One experiment by name: writes `out`/<name>.csv and <name>.md (and a figure as SVG); returns the Markdown."""
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
        tables = {"": clicks_table(clicks_of(folder, models, out, report))}
    elif name == "table1":
        tables = {"": table1(run(folder, table1_contenders(), models, out, report))}
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
            tables = {"": crossval(rows, methods[0])}
    for suffix, table in tables.items():
        table.to_csv(out / f"{name}{'_' * bool(suffix)}{suffix}.csv", index=False)
    text = "\n\n".join(markdown(table) for table in tables.values())
    (out / f"{name}.md").write_text(text + "\n")
    return text


def reliability_of(folder: Path, models: Models, report: Callable[[str], None]) -> tuple[pd.DataFrame, float]:
    """Reliability table and calibration error of SiMA+'s confidence on all crystals it finds in `folder`."""
    sure, right = [], []
    for micrograph, truth in read_pairs(folder):
        found = segment(micrograph, Settings(), models)
        sure.append(found.confidence)
        right.append(is_right(truth, found.labels, len(found.confidence)))
        report(f"{micrograph.name}  {len(found.confidence)} crystals, {right[-1].sum()} right")
    if not sum(map(len, sure)):
        raise ValueError(f"{folder}: no crystal was found, so there is no confidence to compare with the truth.")
    table = reliability(np.concatenate(sure), np.concatenate(right))
    return table, calibration_error(table)


def clicks_of(folder: Path, models: Models, out: Path, report: Callable[[str], None]) -> pd.DataFrame:
    """A row an image: what `clicks.figures` says of the default method's result, also in `out`/clicks_images.csv."""
    rows = []
    for micrograph, truth in read_pairs(folder):
        found = segment(micrograph, Settings(), models)
        row = {"image": micrograph.name} | clicks.figures(found, micrograph.pixels, truth)
        rows.append(row)
        report("  ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    table = pd.DataFrame(rows)
    table.to_csv(out / "clicks_images.csv", index=False)
    return table


# --- tables ----------------------------------------------------------------------------------------------------------


def table1(rows: pd.DataFrame) -> pd.DataFrame:
    """Fusion methods by number of scales: PQ and MRE ACS, % (paper table I)."""
    return _by_contender(rows, {"pq": "PQ, %", "mre_acs": "MRE ACS, %"})


def table2(rows: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """All methods: PQ, AJI, size errors, parameters, latency (paper table II), and what the paper does not print."""
    columns = {
        "pq": "PQ, %", "aji": "AJI, %", "mae_acs_px": "MAE ACS, px", "mre_acs": "MRE ACS, %", "ap": "AP, %",
        "count_error": "count error, %", "ks": "KS, %", "cldice": "clDice, %",
    }  # fmt: skip
    table = _by_contender(rows, columns)
    sums = rows.groupby("contender", sort=False)[["merges", "splits", "count_true"]].sum()
    for name in ("merges", "splits"):
        table[f"{name} in 100"] = [
            f"{100 * sums.loc[c, name] / sums.loc[c, 'count_true']:.1f}" for c in table["method"]
        ]
    speed = speed.set_index("contender").loc[table["method"]]
    table["parameters"] = [f"{p / 1e6:.1f} M" if p else "none" for p in speed["parameters"]]
    table["latency, s"] = [f"{s:.2f} ± {sd:.2f}" for s, sd in zip(speed["seconds"], speed["seconds_sd"], strict=True)]
    return table


def table3(rows: pd.DataFrame) -> pd.DataFrame:
    """PQ and size errors by class of image (paper table III)."""
    parts = []
    for c in sorted(rows["class"].unique()):
        part = rows[rows["class"] == c]
        columns = {"pq": "PQ, %", "acs_true_px": "true ACS, px", "acs_predicted_px": "ACS, px",
                   "mae_acs_px": "MAE ACS, px", "mre_acs": "MRE ACS, %"}  # fmt: skip
        table = _by_contender(part, columns)
        table.insert(0, "class", f"{c} ({part['image'].nunique()} images)")
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def octave_table(rows: pd.DataFrame) -> pd.DataFrame:
    """PQ by octave of the crystal diameter, all images together: where a method loses crystals."""
    sums: dict[str, dict[int, np.ndarray]] = {}
    for contender, text in zip(rows["contender"], rows["octaves"], strict=True):
        own = sums.setdefault(contender, {})
        for part in filter(None, str(text).split(";")):
            octave, values = part.split(":")
            own[int(octave)] = own.get(int(octave), np.zeros(4)) + np.array(values.split(","), float)
    octaves = sorted({k for own in sums.values() for k in own})
    first = next(iter(sums.values()))
    table = pd.DataFrame({"diameter, px": [f"{2**k}–{2 ** (k + 1)}" for k in octaves]})
    table["crystals"] = [int(first[k][1] + first[k][3]) if k in first else 0 for k in octaves]
    for contender, own in sums.items():
        table[contender] = [f"{100 * octave_quality(own[k]):.1f}" if k in own else "–" for k in octaves]
    return table


def clicks_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Median clicks of an image to each PQ and of a crystal to IoU 0.85; images that never got there count as more than
    any other, and how many did is said."""
    lines = [("PQ before", f"{rows['pq'].mean():.3f}", "")]
    for goal in clicks.GOALS:
        of, in_100 = (rows[f"clicks_{100 * goal:.0f}{unit}"] for unit in ("", "_in_100"))
        middle = [np.median(values.fillna(np.inf)) for values in (of, in_100)]
        words = [f"{value:.0f}" if np.isfinite(value) else "not reached" for value in middle]
        lines.append((f"clicks to PQ {goal:.2f}", words[0], f"{of.notna().sum()} of {len(of)} images"))
        lines.append(("the same for 100 crystals", words[1], ""))
    lines.append((f"clicks to one crystal of IoU {clicks.GOOD}", f"{rows['clicks_one'].mean():.1f}", ""))
    lines.append(("crystals that one click gets", f"{100 * rows['one_click'].mean():.0f} %", ""))
    return pd.DataFrame(lines, columns=["figure", "value", "reached by"])


def figure4(rows: pd.DataFrame) -> pd.DataFrame:
    """How well PQ and clDice tell the size error: Spearman's rank correlation with MRE ACS for each method."""
    table = []
    for contender, part in rows.groupby("contender", sort=False):
        ranks = part[["pq", "cldice", "mre_acs"]].corr(method="spearman")["mre_acs"]
        table.append({"method": contender, "PQ against MRE ACS": f"{ranks['pq']:.2f}",
                      "clDice against MRE ACS": f"{ranks['cldice']:.2f}"})  # fmt: skip
    return pd.DataFrame(table)


def scatter(rows: pd.DataFrame) -> str:
    """Figure 4 as SVG: PQ (left) and clDice (right) of every image against its relative size error, by method."""
    panels = [
        (
            words,
            {name: part[[key, "mre_acs"]].to_numpy().tolist() for name, part in rows.groupby("contender", sort=False)},
        )
        for key, words in (("pq", "PQ"), ("cldice", "clDice"))
    ]
    return scatter_svg(panels, "relative error of the average crystal size")


def crossval(rows: pd.DataFrame, reference: str, count: int = 10) -> pd.DataFrame:
    """PQ and MRE ACS over `count` stratified folds of the images, and Wilcoxon signed-rank tests of the folds' means
    against `reference`, p-values times the number of comparisons (Bonferroni), at most 1."""
    images = rows.drop_duplicates("image").sort_values("image")
    fold = dict(zip(images["image"], folds(images["class"].to_numpy(), count), strict=True))
    grouped = rows.assign(fold=rows["image"].map(fold)).groupby(["contender", "fold"], sort=False)
    means = grouped[["pq", "mre_acs"]].mean()
    others = [c for c in rows["contender"].unique() if c != reference]
    table = []
    for c in [reference, *others]:
        line = {"method": c}
        for key, words in (("pq", "PQ, %"), ("mre_acs", "MRE ACS, %")):
            own = 100 * means.loc[c][key].sort_index()
            line[words] = f"{own.mean():.1f} ± {own.std():.1f}"
            if c != reference:
                difference = own - 100 * means.loc[reference][key].sort_index()
                p = wilcoxon(difference).pvalue if difference.any() else 1.0
                line[f"p of {words.split(',')[0]}"] = f"{min(1.0, p * len(others)):.3f}"
        table.append(line)
    return pd.DataFrame(table).fillna("")


def _by_contender(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Mean ± standard deviation over images, in the contenders' order; ratios in per cent."""
    table = []
    for contender, part in rows.groupby("contender", sort=False):
        line = {"method": contender}
        for key, words in columns.items():
            unit = 100 if words.endswith("%") else 1
            line[words] = f"{unit * part[key].mean():.1f} ± {unit * part[key].std(ddof=0):.1f}"
        table.append(line)
    return pd.DataFrame(table)


def markdown(table: pd.DataFrame) -> str:
    """A table as GitHub Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
