"""Charts on the pages (plotly)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from crystalseg.evaluation.comparison import Compared
from crystalseg.measurement.agreement import Agreement
from crystalseg.measurement.control import ControlChart
from crystalseg.measurement.distribution import cumulative, histogram, sizes_and_weights
from crystalseg.segmentation.colormap import CATEGORIES
from crystalseg.ui.plain import in_chart

ACCENT = "#c1550b"
CUMULATIVE_AXIS = {
    "title": "cumulative, %",
    "overlaying": "y",
    "side": "right",
    "range": [0, 102],
    "tickvals": [0, 25, 50, 75, 100],
    "showgrid": False,
}


def distribution_chart(
    crystals: pd.DataFrame, shape: tuple[int, int], rule: str, weighting: str, logarithmic: bool
) -> go.Figure:
    """Return a histogram and cumulative curve of the diameters, weighted by `number` or `area`."""
    sizes, weights, areas, unit = sizes_and_weights(crystals, shape, rule)
    if weighting == "area":
        weights = weights * areas
    edges, share = histogram(sizes, weights, logarithmic)
    ordered, q = cumulative(sizes, weights)
    middle = np.sqrt(edges[:-1] * edges[1:]) if logarithmic else (edges[:-1] + edges[1:]) / 2
    hover = [
        f"{a:.4g} to {b:.4g} {unit}: {100 * s:.1f} %" for a, b, s in zip(edges[:-1], edges[1:], share, strict=True)
    ]
    chart = go.Figure()
    if logarithmic:  # bars on a logarithmic axis have uneven widths, so draw steps
        x, y = np.repeat(edges, 2), np.concatenate(([0], np.repeat(100 * share, 2), [0]))
        chart.add_scatter(x=x, y=y, fill="tozeroy", mode="lines", name="share, %", line={"width": 1}, hoverinfo="skip")
        chart.add_scatter(
            x=middle,
            y=100 * share,
            mode="markers",
            marker={"opacity": 0},
            hovertext=hover,
            hoverinfo="text",
            showlegend=False,
        )
    else:
        chart.add_bar(x=middle, y=100 * share, width=np.diff(edges), name="share, %", hovertext=hover, hoverinfo="text")
    chart.add_scatter(
        x=ordered,
        y=100 * q,
        yaxis="y2",
        name="cumulative, %",
        line={"color": ACCENT, "shape": "hv"},
        hovertemplate="%{y:.1f} % up to %{x:.4g} " + unit + "<extra></extra>",
    )
    chart.update_layout(
        xaxis={"title": f"equivalent circular diameter, {unit}", "type": "log" if logarithmic else "linear"},
        yaxis={"title": f"share by {weighting}, %", "rangemode": "tozero"},
        yaxis2=CUMULATIVE_AXIS,
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=420,
    )
    return chart


def cumulative_chart(compared: Sequence[Compared], rule: str) -> go.Figure:
    """Return the cumulative number distributions of several methods in one chart."""
    chart = go.Figure()
    unit = "px"
    for k, method in enumerate(compared):
        sizes, weights, _, unit = sizes_and_weights(method.crystals, method.labels.shape, rule)
        if len(sizes):
            ordered, q = cumulative(sizes, weights)
            chart.add_scatter(
                x=ordered,
                y=100 * q,
                name=in_chart(method.name),
                line={"shape": "hv", "color": f"rgb{CATEGORIES[1 + k % 8]}"},
            )
    chart.update_layout(
        xaxis={"title": f"equivalent circular diameter, {unit}", "type": "log"},
        yaxis={"title": "cumulative share by number, %", "range": [0, 101]},
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=380,
    )
    return chart


def agreement_chart(agreement: Agreement, images: Sequence[str], first: str, second: str, unit: str) -> go.Figure:
    """Return the Bland–Altman plot of the average sizes by two methods, one point per image."""
    chart = go.Figure()
    chart.add_scatter(
        x=agreement.mean,
        y=agreement.difference,
        mode="markers",
        text=[in_chart(name) for name in images],
        marker={"size": 10},
    )
    low, high = agreement.limits
    for value, words, dash in (
        (agreement.bias, "bias", "solid"),
        (low, "95 % limit", "dash"),
        (high, "95 % limit", "dash"),
    ):
        chart.add_hline(value, line_dash=dash, annotation_text=f"{words} {value:.3g} {unit}")
    chart.update_layout(
        xaxis_title=f"mean of both average crystal sizes, {unit}",
        yaxis_title=f"{in_chart(second)} − {in_chart(first)}, {unit}",
        margin={"t": 20, "b": 10},
        height=380,
    )
    return chart


def control_charts(
    chart: ControlChart,
    values: Sequence[float],
    names: Sequence[Sequence[str]],
    signals: dict[int, str],
    changes: Sequence[int],
    words: str,
    unit: str,
) -> go.Figure:
    """Return a chart of individuals above a moving-range chart. names: a few lines for each value; signals: what is out
    of control, by index; changes: indices from which another way of measuring was used."""
    number = list(range(1, len(values) + 1))
    hover = ["<br>".join(map(in_chart, lines)) for lines in names]
    drawn = make_subplots(2, 1, shared_xaxes=True, row_heights=(0.65, 0.35), vertical_spacing=0.06)
    drawn.add_scatter(x=number, y=values, mode="lines+markers", hovertext=hover, name=words, row=1, col=1)
    drawn.add_scatter(
        x=[k + 1 for k in signals],
        y=[values[k] for k in signals],
        mode="markers",
        name="signal",
        marker={"color": ACCENT, "size": 12, "symbol": "diamond"},
        hovertext=list(signals.values()),
        row=1,
        col=1,
    )
    drawn.add_scatter(x=number[1:], y=chart.ranges, mode="lines+markers", name="moving range", row=2, col=1)
    wide = [k for k in range(1, len(values)) if chart.ranges[k - 1] > chart.range_limit]
    drawn.add_scatter(
        x=[k + 1 for k in wide],
        y=[chart.ranges[k - 1] for k in wide],
        mode="markers",
        name="signal",
        marker={"color": ACCENT, "size": 12, "symbol": "diamond"},
        hovertext=[signals[k] for k in wide],
        row=2,
        col=1,
    )
    for row, level, dash in (
        (1, chart.centre, "solid"),
        (1, chart.limits[0], "dash"),
        (1, chart.limits[1], "dash"),
        (2, chart.range_limit, "dash"),
    ):
        drawn.add_hline(level, row=row, line_dash=dash, line_color="#666")
    for place in changes:
        drawn.add_vline(place + 0.5, line_dash="dot", line_color="#666")
    drawn.update_yaxes(title=f"{words}, {unit}", row=1)
    drawn.update_yaxes(title=f"moving range, {unit}", rangemode="tozero", row=2)
    drawn.update_xaxes(tickformat="d", dtick=max(1, len(values) // 20))
    drawn.update_xaxes(title="run, oldest first", row=2)
    drawn.update_layout(height=500, margin={"t": 10, "b": 10}, showlegend=False)
    return drawn


def months_chart(table: pd.DataFrame, weighting: str, unit: str) -> go.Figure:
    """Return D10, D50 and D90 by `number` or `area` of each month. table: from `months.of_months`."""
    chart = go.Figure()
    hover = [f"{r.runs:,} runs, {r.crystals:,} crystals" for r in table.itertuples()]
    for share, dash in ((90, "dot"), (50, "solid"), (10, "dot")):
        chart.add_scatter(
            x=table["month"],
            y=table[f"{weighting}_d{share}"],
            name=f"D{share}",
            mode="lines+markers",
            line={"dash": dash, "color": ACCENT},
            hovertext=hover,
            hovertemplate="%{x}: %{y:.4g} " + unit + ", %{hovertext}<extra></extra>",
        )
    chart.update_layout(
        xaxis={"type": "category"},
        yaxis={"title": f"size by {weighting}, {unit}", "rangemode": "tozero"},
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=360,
    )
    return chart


def learning_chart(curves: Mapping[int, pd.DataFrame]) -> go.Figure:
    """Return the learning curve of a model: the loss of each part by step, and its PQ on areas that were left out."""
    chart = make_subplots(specs=[[{"secondary_y": True}]])
    colours = [f"rgb{colour}" for colour in CATEGORIES[1:]]
    for place, (part, rows) in enumerate(curves.items()):
        colour = colours[place % len(colours)]
        line = {"color": colour, "width": 1.5}
        chart.add_scatter(x=rows["step"], y=rows["loss"], name=f"part {part + 1}, loss", mode="lines", line=line)
        if "pq" in rows and rows["pq"].notna().any():
            seen = {"color": colour, "width": 2, "dash": "dot"}
            chart.add_scatter(
                x=rows["step"],
                y=rows["pq"],
                name=f"part {part + 1}, PQ of areas left out",
                mode="lines+markers",
                line=seen,
                secondary_y=True,
            )
    chart.update_xaxes(title="step")
    chart.update_yaxes(title="loss", secondary_y=False)
    chart.update_yaxes(title="PQ", range=[0, 1], tickmode="linear", dtick=0.2, showgrid=False, secondary_y=True)
    chart.update_layout(height=300, margin={"t": 20, "b": 10}, legend={"orientation": "h", "y": 1.15})
    return chart
