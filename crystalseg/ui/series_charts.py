"""Charts of a series (plotly)."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from crystalseg.measurement.series import Series
from crystalseg.report.series import law_curve
from crystalseg.segmentation.colormap import colours_apart
from crystalseg.ui.charts import ACCENT

TIME = "time, s"


def _along(frames: pd.DataFrame) -> tuple[pd.Series, str]:
    """Return the x values of a series: time, or frame number if a time is missing; and their name."""
    return (frames["frame"] + 1, "frame") if frames["seconds"].isna().any() else (frames["seconds"], TIME)


def growth_chart(series: Series) -> go.Figure:
    """Return the chart of the mean size with its 95 % interval, and the law."""
    frames = series.frames
    x, title = _along(frames)
    chart = go.Figure()
    chart.add_scatter(
        x=x,
        y=frames["mean"],
        error_y={"array": frames["high"] - frames["mean"], "arrayminus": frames["mean"] - frames["low"]},
        mode="markers",
        name="mean size",
        text=frames["image"],
    )
    law = law_curve(series)
    if law is not None:
        chart.add_scatter(x=law[0], y=law[1], mode="lines", name="law", line={"color": ACCENT})
    chart.update_layout(
        xaxis_title=title,
        yaxis={"title": f"mean equivalent circular diameter, {series.unit}", "rangemode": "tozero"},
        legend={"orientation": "h", "y": 1.12},
        margin={"t": 10, "b": 10},
        height=360,
    )
    return chart


def events_chart(frames: pd.DataFrame, events: pd.DataFrame) -> go.Figure:
    """Return the chart of the number of crystals, and how many appear and disappear, by frame."""
    x, title = _along(frames)
    chart = make_subplots(specs=[[{"secondary_y": True}]])
    for name in events.columns.drop("frame"):
        if events[name].any():
            chart.add_bar(x=x, y=events[name], name=name)
    chart.add_scatter(x=x, y=frames["found"], name="crystals", mode="lines+markers", secondary_y=True)
    chart.update_xaxes(title=title)
    chart.update_yaxes(title="events", secondary_y=False)
    chart.update_yaxes(title="crystals", rangemode="tozero", showgrid=False, secondary_y=True)
    chart.update_layout(barmode="stack", legend={"orientation": "h", "y": 1.12}, margin={"t": 10, "b": 10}, height=360)
    return chart


def tracks_chart(curves: pd.DataFrame, unit: str) -> go.Figure:
    """Return the growth curves of some crystals in the colours of their tracks. curves: as `Series.curves`."""
    column = "diameter_um" if unit == "µm" else "diameter_px"
    colours = colours_apart(1 + int(curves["track"].max() if len(curves) else 0))
    chart = go.Figure()
    timed = curves["seconds"].notna().all()
    for track, rows in curves.groupby("track"):
        chart.add_scatter(
            x=rows["seconds"] if timed else rows["frame"] + 1,
            y=rows[column],
            mode="lines+markers",
            marker={"size": 4},
            name=f"track {track}",
            line={"color": "rgb({},{},{})".format(*colours[track]), "width": 1.5},
        )
    chart.update_layout(
        xaxis_title=TIME if timed else "frame",
        yaxis={"title": f"diameter, {unit}", "rangemode": "tozero"},
        showlegend=False,
        margin={"t": 10, "b": 10},
        height=330,
    )
    return chart
