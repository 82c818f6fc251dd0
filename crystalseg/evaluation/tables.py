"""Make the tables of the experiments from their scores (paper tables I to III, figure 4)."""

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

from crystalseg.evaluation import clicks
from crystalseg.evaluation.benchmark import folds
from crystalseg.evaluation.metrics import octave_quality


def table1(rows: pd.DataFrame) -> pd.DataFrame:
    """Return fusion methods by number of scales: PQ and MRE ACS, % (paper table I)."""
    return _by_contender(rows, {"pq": "PQ, %", "mre_acs": "MRE ACS, %"})


def table2(rows: pd.DataFrame, speed: pd.DataFrame) -> pd.DataFrame:
    """Return all methods with PQ, AJI, size errors, parameters and latency (paper table II), and figures of our own."""
    columns = {
        "pq": "PQ, %",
        "aji": "AJI, %",
        "mae_acs_px": "MAE ACS, px",
        "mre_acs": "MRE ACS, %",
        "ap": "AP, %",
        "count_error": "count error, %",
        "ks": "KS, %",
        "cldice": "clDice, %",
    }
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
    """Return PQ and size errors by class of image (paper table III)."""
    parts = []
    for c in sorted(rows["class"].unique()):
        part = rows[rows["class"] == c]
        columns = {
            "pq": "PQ, %",
            "acs_true_px": "true ACS, px",
            "acs_predicted_px": "ACS, px",
            "mae_acs_px": "MAE ACS, px",
            "mre_acs": "MRE ACS, %",
        }
        table = _by_contender(part, columns)
        table.insert(0, "class", f"{c} ({part['image'].nunique()} images)")
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def octave_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return PQ by octave of the crystal diameter over all images, which shows where a method loses crystals."""
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


def clicks_table(rows: pd.DataFrame, crystals: pd.DataFrame) -> pd.DataFrame:
    """Return the median clicks per image to each PQ and per crystal to IoU 0.85. Images that never reach the goal rank
    above all others; the table states how many reach it."""
    lines = [("PQ before", f"{rows['pq'].mean():.3f}", "")]
    for goal in clicks.GOALS:
        of, in_100 = (rows[f"clicks_{100 * goal:.0f}{unit}"] for unit in ("", "_in_100"))
        middle = [np.median(values.fillna(np.inf)) for values in (of, in_100)]
        words = [f"{value:.0f}" if np.isfinite(value) else "not reached" for value in middle]
        lines.append((f"clicks to PQ {goal:.2f}", words[0], f"{of.notna().sum()} of {len(of)} images"))
        lines.append(("the same for 100 crystals", words[1], ""))
    by_flow = crystals["clicks_without"]
    lines.append((f"clicks to one crystal of IoU {clicks.GOOD}, by flow or outline", f"{by_flow.mean():.1f}", ""))
    lines.append(("crystals that one such click gets", f"{100 * (by_flow == 1).mean():.0f} %", ""))
    if "noc_85" in crystals:
        for goal in clicks.GOALS:
            counts = crystals[f"noc_{100 * goal:.0f}"]
            reached = f"{(counts < clicks.MOST).sum()} of {len(counts)} crystals"
            lines.append((f"clicks to one crystal of IoU {goal:g} by ClickNet", f"{counts.mean():.1f}", reached))
        share = f"{100 * (crystals['noc_85'] == 1).mean():.0f} %"
        lines.append(("crystals that one click of ClickNet gets", share, f"mean IoU {crystals['iou_1'].mean():.3f}"))
    return pd.DataFrame(lines, columns=["figure", "value", "reached by"])


def clicks_by_octave(crystals: pd.DataFrame) -> pd.DataFrame:
    """Return the mean clicks to one crystal by the octave of its length, px."""
    octave = np.floor(np.log2(crystals["length"].clip(lower=1))).astype(int)
    means = crystals.groupby(octave).mean(numeric_only=True).round(2)
    means.insert(0, "crystals", crystals.groupby(octave).size())
    means.insert(0, "length, px", [f"{2**k} to {2 ** (k + 1)}" for k in means.index])
    return means.drop(columns="length").reset_index(drop=True)


def figure4(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how well PQ and clDice predict the size error: Spearman's rank correlation with MRE ACS for each
    method."""
    table = []
    for contender, part in rows.groupby("contender", sort=False):
        ranks = part[["pq", "cldice", "mre_acs"]].corr(method="spearman")["mre_acs"]
        table.append(
            {
                "method": contender,
                "PQ against MRE ACS": f"{ranks['pq']:.2f}",
                "clDice against MRE ACS": f"{ranks['cldice']:.2f}",
            }
        )
    return pd.DataFrame(table)


def crossval(rows: pd.DataFrame, reference: str, count: int = 10) -> pd.DataFrame:
    """Return PQ and MRE ACS over `count` stratified folds of the images, and Wilcoxon signed-rank tests of the fold
    means against `reference`. p-values are multiplied by the number of comparisons (Bonferroni), at most 1."""
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


def differences(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return PQ and MRE ACS, and the difference of each contender from `reference` on the same images, with the 95 %
    percentile interval of a bootstrap over the images (scipy.stats.bootstrap, seeded)."""
    others = [c for c in rows["contender"].unique() if c != reference]
    table = pd.DataFrame({"method": [reference, *others]})
    for key, words in (("pq", "PQ, %"), ("mre_acs", "MRE ACS, %")):
        values = 100 * rows.pivot(index="image", columns="contender", values=key)
        table[words] = [f"{values[c].mean():.1f}" for c in table["method"]]
        table[f"{words} more"] = ["", *(with_interval((values[c] - values[reference]).to_numpy()) for c in others)]
    return table


def effort_table(rows: pd.DataFrame, latency: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return `differences` with seconds per image and the share of the reference's time."""
    table = differences(rows, reference)
    seconds = latency.set_index("contender")["seconds"]
    table["s per image"] = [f"{seconds[name]:.2f}" for name in table["method"]]
    table["share of the time, %"] = [f"{100 * seconds[name] / seconds[reference]:.0f}" for name in table["method"]]
    return table


def with_interval(values: np.ndarray) -> str:
    """Return mean and 95 % interval as text, without interval for one value or equal values; "" if there are none."""
    if not len(values):
        return ""
    words = f"{values.mean():+.1f}"
    if np.ptp(values) == 0:
        return words
    found = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{words} ({found.low:+.1f} to {found.high:+.1f})"


def _by_contender(rows: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return mean ± standard deviation over images, in the contenders' order; ratios in per cent."""
    table = []
    for contender, part in rows.groupby("contender", sort=False):
        line = {"method": contender}
        for key, words in columns.items():
            unit = 100 if words.endswith("%") else 1
            line[words] = f"{unit * part[key].mean():.1f} ± {unit * part[key].std(ddof=0):.1f}"
        table.append(line)
    return pd.DataFrame(table)


def markdown(table: pd.DataFrame) -> str:
    """Return a table as GitHub Markdown."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
