"""Draw charts of the experiments as SVG."""

from collections.abc import Mapping, Sequence

import pandas as pd
from reportlab.graphics import renderSVG
from reportlab.graphics.charts.legends import Legend
from reportlab.graphics.charts.lineplots import LinePlot, ScatterPlot
from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import Color, HexColor

from crystalseg.segmentation.colormap import CATEGORIES

PALETTE = [Color(*(level / 255 for level in colour)) for colour in CATEGORIES[1:]]
INK, GRID = HexColor("#222222"), HexColor("#dddddd")


def scatter_svg(
    panels: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float]]]]], y_title: str, y_most: float = 1.0
) -> str:
    """Return scatter plots side by side as SVG text. Each panel is its x title and, by series name, points (x, y), x in
    0..1; y is clipped at `y_most`."""
    side, left, gap = 230, 45, 55
    drawing = Drawing(left + len(panels) * (side + gap) + 90, side + 60)
    for k, (x_title, series) in enumerate(panels):
        plot = ScatterPlot()
        plot.x, plot.y, plot.width, plot.height = left + k * (side + gap), 40, side, side
        plot.data = [[(x, min(y, y_most)) for x, y in points] for points in series.values()]
        plot.xValueAxis.valueMin, plot.xValueAxis.valueMax, plot.xValueAxis.valueStep = 0, 1, 0.2
        plot.yValueAxis.valueMin, plot.yValueAxis.valueMax = 0, y_most
        plot.xLabel, plot.yLabel = x_title, y_title if k == 0 else ""
        plot.outerBorderOn = False
        plot.lineLabelFormat = None
        for i in range(len(series)):
            plot.lines[i].strokeColor = PALETTE[i % len(PALETTE)]
            plot.lines[i].symbol.kind, plot.lines[i].symbol.size = "Circle", 3
            plot.lines[i].symbol.fillColor = PALETTE[i % len(PALETTE)]
            plot.lines[i].symbol.strokeWidth = 0
        drawing.add(plot)
    legend = Legend()
    legend.x, legend.y, legend.alignment, legend.columnMaximum = drawing.width - 95, side + 30, "right", 20
    legend.colorNamePairs = [(PALETTE[i % len(PALETTE)], name) for i, name in enumerate(panels[0][1])]
    legend.fontSize = 7
    drawing.add(legend)
    return renderSVG.drawToString(drawing)


def reliability_svg(confidence: Sequence[float], right: Sequence[float], count: Sequence[int]) -> str:
    """Return a reliability plot as SVG text: share of right crystals against confidence by bin, with the diagonal."""
    side = 260
    drawing = Drawing(side + 80, side + 60)
    plot = LinePlot()
    plot.x, plot.y, plot.width, plot.height = 45, 40, side, side
    plot.data = [[(0, 0), (1, 1)], list(zip(confidence, right, strict=True))]
    for axis in (plot.xValueAxis, plot.yValueAxis):
        axis.valueMin, axis.valueMax, axis.valueStep = 0, 1, 0.2
    plot.lines[0].strokeColor, plot.lines[1].strokeColor = GRID, PALETTE[0]
    drawing.add(plot)
    for x, y, n in zip(confidence, right, count, strict=True):
        place = (45 + side * x, 40 + side * y)
        drawing.add(Rect(place[0] - 2, place[1] - 2, 4, 4, fillColor=PALETTE[0], strokeColor=None))
        drawing.add(String(place[0] + 5, place[1] - 8, str(n), fontSize=6, fillColor=INK))
    drawing.add(String(45 + side / 2, 12, "confidence", fontSize=8, textAnchor="middle"))
    drawing.add(String(48, 46 + side, "share that is right (IoU > 0.5), number of crystals", fontSize=8))
    return renderSVG.drawToString(drawing)


def trade_svg(points: Mapping[str, tuple[float, float]]) -> str:
    """Return a plot of time against quality as SVG text. points: mean PQ, 0..1, and seconds per image, by name."""
    side, most = 260, 1.1 * max(seconds for _, seconds in points.values())
    drawing = Drawing(side + 150, side + 60)
    plot = LinePlot()
    plot.x, plot.y, plot.width, plot.height = 45, 40, side, side
    plot.data = [sorted((seconds, pq) for pq, seconds in points.values())]
    plot.xValueAxis.valueMin, plot.xValueAxis.valueMax = 0, most
    plot.yValueAxis.valueMin, plot.yValueAxis.valueMax, plot.yValueAxis.valueStep = 0, 1, 0.2
    plot.lines[0].strokeColor = PALETTE[0]
    drawing.add(plot)
    for name, (pq, seconds) in points.items():
        x, y = 45 + side * seconds / most, 40 + side * pq
        drawing.add(Rect(x - 2, y - 2, 4, 4, fillColor=PALETTE[0], strokeColor=None))
        drawing.add(String(x, y - 14, name, fontSize=7, fillColor=INK))
    drawing.add(String(45 + side / 2, 12, "s per image", fontSize=8, textAnchor="middle"))
    drawing.add(String(48, 46 + side, "PQ, mean over the images", fontSize=8))
    return renderSVG.drawToString(drawing)


def scatter(rows: pd.DataFrame) -> str:
    """Return figure 4 as SVG: PQ (left) and clDice (right) of every image against its relative size error, by
    method."""
    panels = [
        (
            words,
            {name: part[[key, "mre_acs"]].to_numpy().tolist() for name, part in rows.groupby("contender", sort=False)},
        )
        for key, words in (("pq", "PQ"), ("cldice", "clDice"))
    ]
    return scatter_svg(panels, "relative error of the average crystal size")
