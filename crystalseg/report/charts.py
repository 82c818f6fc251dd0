"""Draw the report's vector charts (reportlab drawings)."""

from collections.abc import Mapping

import numpy as np
from reportlab.graphics.shapes import Drawing, Line, PolyLine, Rect, String
from reportlab.lib.colors import HexColor

from crystalseg.evaluation.charts import GRID, INK, PALETTE
from crystalseg.measurement.distribution import cumulative, histogram
from crystalseg.measurement.rounding import exact
from crystalseg.report.fonts import plain

SMALLEST = 8.5  # pt
BAR, CURVE = HexColor("#9fb8cc"), HexColor("#c1550b")


def ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Return round tick values between `low` and `high`."""
    if logarithmic:
        powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        return [float(m * p) for p in powers for m in (1, 2, 5) if low <= m * p <= high]
    step = 10.0 ** np.floor(np.log10((high - low) / 4))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 6)
    return [float(t) for t in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step]


def distribution_chart(
    sizes: np.ndarray, weights: np.ndarray, title: str, unit: str, size: tuple[float, float], font: str
) -> Drawing:
    """Draw a histogram (shares) and the cumulative curve over a logarithmic diameter axis. size: width and height,
    pt."""
    width, height = size
    left, right, bottom, top = 36.0, 30.0, 30.0, 18.0
    plot_w, plot_h = width - left - right, height - bottom - top
    edges, share = histogram(sizes, weights, logarithmic=True)
    low, high = np.log(edges[0]), np.log(edges[-1])
    tallest = max(share.max() * 1.1, 1e-9)

    def x(value: float) -> float:
        return left + plot_w * (np.log(value) - low) / (high - low)

    drawing = Drawing(width, height)

    def text(px: float, py: float, words: str, anchor: str = "middle", points: float = SMALLEST) -> None:
        drawing.add(String(px, py, words, fontName=font, fontSize=points, textAnchor=anchor, fillColor=INK))

    text(left, height - 11, title, "start", 9.5)
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
    if len(ordered) > 400:  # neither the eye nor a printer resolves more points
        chosen = np.linspace(0, len(ordered) - 1, 400).astype(int)
        ordered, q = ordered[chosen], q[chosen]
    points = [v for s, c in zip(ordered, q, strict=True) for v in (x(s), bottom + plot_h * c)]
    if len(points) >= 4:
        drawing.add(PolyLine(points, strokeColor=CURVE, strokeWidth=1.2))
    drawing.add(Line(left, bottom, left + plot_w, bottom, strokeColor=INK, strokeWidth=0.7))
    last = -1e9
    for tick in ticks(edges[0], edges[-1], logarithmic=True):
        if x(tick) - last > 26:
            drawing.add(Line(x(tick), bottom, x(tick), bottom - 3, strokeColor=INK, strokeWidth=0.7))
            text(x(tick), bottom - 11, exact(tick))
            last = x(tick)
    text(left + plot_w / 2, 6, f"equivalent circular diameter, {unit}")
    text(left - 4, height - 11, "%", "end")
    text(left + plot_w + 4, height - 11, "cum. %", "middle")
    return drawing


def growth_chart(
    seconds: np.ndarray,
    sizes: np.ndarray,
    law: tuple[np.ndarray, np.ndarray] | None,
    unit: str,
    size: tuple[float, float],
    font: str,
) -> Drawing:
    """Draw mean sizes (3, n) against time: the value and the ends of its interval. law: points of the fitted curve;
    size: width and height, pt."""
    width, height = size
    left, bottom = 36.0, 30.0
    plot_w, plot_h = width - left - 10, height - bottom - 10
    everything = np.concatenate([sizes.ravel(), law[1] if law else []])
    low, high = 0.9 * np.nanmin(everything), 1.1 * np.nanmax(everything)
    first, last = float(seconds.min()), float(seconds.max())

    def x(value: float) -> float:
        return float(left + plot_w * (value - first) / (last - first))

    def y(value: float) -> float:
        return float(bottom + plot_h * (value - low) / (high - low))

    drawing = Drawing(width, height)
    for tick in ticks(low, high, logarithmic=False):
        drawing.add(Line(left, y(tick), left + plot_w, y(tick), strokeColor=GRID, strokeWidth=0.5))
        drawing.add(String(left - 4, y(tick) - 2.5, exact(tick), fontName=font, fontSize=SMALLEST, textAnchor="end"))
    for tick in ticks(first, last, logarithmic=False):
        drawing.add(String(x(tick), bottom - 11, exact(tick), fontName=font, fontSize=SMALLEST, textAnchor="middle"))
    if law:
        drawing.add(PolyLine([v for t, d in zip(*law, strict=True) for v in (x(t), y(d))], strokeColor=CURVE))
    for t, (value, least, most) in zip(seconds, sizes.T, strict=True):
        if np.isfinite(least):
            drawing.add(Line(x(t), y(least), x(t), y(most), strokeColor=INK, strokeWidth=0.7))
        drawing.add(Rect(x(t) - 1.8, y(value) - 1.8, 3.6, 3.6, fillColor=PALETTE[0], strokeColor=None))
    words = f"mean equivalent circular diameter, {unit}, against time, s"
    drawing.add(
        String(left + plot_w / 2, 6, words, fontName=font, fontSize=SMALLEST, textAnchor="middle", fillColor=INK)
    )
    return drawing


def cumulative_chart(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]], unit: str, size: tuple[float, float], font: str
) -> Drawing:
    """Draw cumulative distributions {name: (sizes, weights)} over one logarithmic axis. size: width and height, pt."""
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
        drawing.add(String(left - 4, y - 2.5, f"{100 * part:.0f}", fontName=font, fontSize=SMALLEST, textAnchor="end"))
    last = -1e9
    for tick in ticks(np.exp(low), np.exp(high), logarithmic=True):
        if x(tick) - last > 26:
            last = x(tick)
            drawing.add(String(last, bottom - 11, exact(tick), fontName=font, fontSize=SMALLEST, textAnchor="middle"))
    for k, (name, (sizes, weights)) in enumerate(curves.items()):
        colour = PALETTE[k % len(PALETTE)]
        ordered, q = cumulative(sizes, weights)
        chosen = np.unique(np.linspace(0, len(ordered) - 1, 300).astype(int))
        points = [v for i in chosen for v in (x(ordered[i]), bottom + plot_h * q[i])]
        if len(points) >= 4:
            drawing.add(PolyLine(points, strokeColor=colour, strokeWidth=1.2))
        y = height - 20 - 12 * k
        drawing.add(Line(left + plot_w + 10, y + 2.5, left + plot_w + 24, y + 2.5, strokeColor=colour, strokeWidth=2))
        drawing.add(String(left + plot_w + 28, y, plain(name), fontName=font, fontSize=SMALLEST, fillColor=INK))
    words = f"equivalent circular diameter, {unit}; cumulative share by number, %"
    drawing.add(
        String(left + plot_w / 2, 6, words, fontName=font, fontSize=SMALLEST, textAnchor="middle", fillColor=INK)
    )
    return drawing
