"""Vector charts (reportlab drawings): for the PDF, and as SVG for the documentation."""

from collections.abc import Mapping, Sequence

import numpy as np
from reportlab.graphics import renderSVG
from reportlab.graphics.charts.legends import Legend
from reportlab.graphics.charts.lineplots import LinePlot, ScatterPlot
from reportlab.graphics.shapes import Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import HexColor

from crystalseg.measure.distribution import cumulative, histogram

# Okabe and Ito's palette, told apart by colour-blind readers too.
PALETTE = [
    HexColor(c) for c in ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442")
]
BAR, CURVE, INK, GRID = HexColor("#9fb8cc"), HexColor("#c1550b"), HexColor("#222222"), HexColor("#dddddd")


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round tick values inside low..high."""
    if logarithmic:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        return [float(m * p) for p in powers for m in (1, 2, 5) if low <= m * p <= high]
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
    return [float(t) for t in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def distribution_chart(
    sizes: np.ndarray, weights: np.ndarray, title: str, unit: str, size: tuple[float, float], font: str
) -> Drawing:
    """Histogram (shares) and cumulative curve over a logarithmic diameter axis. `size`: width and height, points."""
    width, height = size
    left, right, bottom, top = 36.0, 30.0, 30.0, 18.0
    plot_w, plot_h = width - left - right, height - bottom - top
    edges, share = histogram(sizes, weights, logarithmic=True, bins=20)
    low, high = np.log(edges[0]), np.log(edges[-1])
    tallest = max(share.max() * 1.1, 1e-9)

    def x(value: float) -> float:
        return left + plot_w * (np.log(value) - low) / (high - low)

    drawing = Drawing(width, height)

    def text(px: float, py: float, words: str, anchor: str = "middle", points: float = 7) -> None:
        drawing.add(String(px, py, words, fontName=font, fontSize=points, textAnchor=anchor, fillColor=INK))

    text(left, height - 11, title, "start", 8.5)
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = bottom + plot_h * part
        drawing.add(Line(left, y, left + plot_w, y, strokeColor=GRID, strokeWidth=0.5))
        text(left - 4, y - 2.5, f"{100 * part * tallest:.0f}", "end")
        text(left + plot_w + 4, y - 2.5, f"{100 * part:.0f}", "start")
    for start, end, value in zip(edges[:-1], edges[1:], share, strict=True):
        if value > 0:
            bar = (x(start), bottom, x(end) - x(start) - 0.4, plot_h * value / tallest)
            drawing.add(Rect(*bar, fillColor=BAR, strokeColor=None))
    ordered, q = cumulative(sizes, weights)
    if len(ordered) > 400:  # more points than the eye or the printer resolves
        chosen = np.linspace(0, len(ordered) - 1, 400).astype(int)
        ordered, q = ordered[chosen], q[chosen]
    points = [v for s, c in zip(ordered, q, strict=True) for v in (x(s), bottom + plot_h * c)]
    if len(points) >= 4:
        drawing.add(PolyLine(points, strokeColor=CURVE, strokeWidth=1.2))
    drawing.add(Line(left, bottom, left + plot_w, bottom, strokeColor=INK, strokeWidth=0.7))
    last = -1e9
    for tick in _ticks(edges[0], edges[-1], logarithmic=True):
        if x(tick) - last > 22:
            drawing.add(Line(x(tick), bottom, x(tick), bottom - 3, strokeColor=INK, strokeWidth=0.7))
            text(x(tick), bottom - 11, f"{tick:g}")
            last = x(tick)
    text(left + plot_w / 2, 6, f"equivalent circular diameter, {unit}")
    text(left - 4, height - 11, "%", "end")
    text(left + plot_w + 4, height - 11, "cum. %", "middle")
    return drawing


def cumulative_chart(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, size: tuple[float, float], font: str
) -> Drawing:
    """Cumulative distributions over one logarithmic axis: {name: (sizes, weights)}. `size`: width, height, points."""
    width, height = size
    left, bottom = 36.0, 30.0
    plot_w, plot_h = width - left - 150, height - bottom - 10
    everything = np.concatenate([sizes for sizes, _ in curves.values()])
    low, high = np.log(everything.min() * 0.95), np.log(everything.max() * 1.05)
    drawing = Drawing(width, height)

    def x(value: float) -> float:
        return left + plot_w * (np.log(value) - low) / (high - low)

    for part in (0, 0.25, 0.5, 0.75, 1):
        y = bottom + plot_h * part
        drawing.add(Line(left, y, left + plot_w, y, strokeColor=GRID, strokeWidth=0.5))
        drawing.add(String(left - 4, y - 2.5, f"{100 * part:.0f}", fontName=font, fontSize=7, textAnchor="end"))
    last = -1e9
    for tick in _ticks(np.exp(low), np.exp(high), logarithmic=True):
        if x(tick) - last > 22:
            last = x(tick)
            drawing.add(String(last, bottom - 11, f"{tick:g}", fontName=font, fontSize=7, textAnchor="middle"))
    for k, (name, (sizes, weights)) in enumerate(curves.items()):
        colour = PALETTE[k % len(PALETTE)]
        ordered, q = cumulative(sizes, weights)
        chosen = np.unique(np.linspace(0, len(ordered) - 1, 300).astype(int))
        points = [v for i in chosen for v in (x(ordered[i]), bottom + plot_h * q[i])]
        if len(points) >= 4:
            drawing.add(PolyLine(points, strokeColor=colour, strokeWidth=1.2))
        y = height - 20 - 12 * k
        drawing.add(Line(left + plot_w + 10, y + 2.5, left + plot_w + 24, y + 2.5, strokeColor=colour, strokeWidth=2))
        drawing.add(String(left + plot_w + 28, y, name, fontName=font, fontSize=7, fillColor=INK))
    words = f"equivalent circular diameter, {unit}; cumulative share by number, %"
    drawing.add(String(left + plot_w / 2, 6, words, fontName=font, fontSize=7, textAnchor="middle", fillColor=INK))
    return drawing


def scatter_svg(
    panels: Sequence[tuple[str, Mapping[str, Sequence[tuple[float, float]]]]], y_title: str, y_most: float = 1.0
) -> str:
    """Scatter plots side by side as SVG text; each panel is its x title and, by series name, points (x, y), x in 0..1;
    y is cut at `y_most`."""
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
    """A reliability plot as SVG text: share of right crystals against confidence by bin, with the diagonal."""
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
