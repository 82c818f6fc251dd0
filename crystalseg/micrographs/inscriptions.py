"""What a microscope writes into its images: the data bar and the scale bar."""

import cv2
import numpy as np

EDGE_ROWS = 6  # rows above a data bar that show what it is cut off from


def find_data_bar(pixels: np.ndarray) -> int | None:
    """Return the first row of the data bar that an SEM burns into the lower edge, or None.

    A data bar is a band in the lowest third, at least 2 % of the height high. Most of its rows have one flat tone, it
    carries writing, and it begins with a step across nearly the whole width. `pixels`: uint8 (H, W, 3).
    """
    h = len(pixels)
    lowest = int(h * 2 / 3)
    start = max(0, lowest - EDGE_ROWS)  # rows above are never looked at
    gray = pixels[start:].sum(axis=2, dtype=np.int16)  # three times the gray level
    band = (gray[lowest - start :] + 1) // 3
    # Taken as int: numpy's own sum would make the band four times as large.
    tone = int(np.bincount(band[-max(3, h // 100) :].ravel(), minlength=256).argmax())
    flat = (np.abs(band - tone) <= 4).mean(axis=1) > 0.4
    # Rows with large letters or a frame line may be mostly not flat, so gaps of up to 4 % of the height are bridged.
    rows = np.flatnonzero(flat)
    if not len(rows) or rows[-1] < len(band) - 1 - h * 0.03:
        return None
    top = rows[-1]
    for row in rows[::-1]:
        if top - row > max(2, 0.04 * h):
            break
        top = row
    top += lowest
    if h - top < max(8, 0.02 * h) or top <= lowest:
        return None
    bar = np.abs(gray[top - start :] - 3 * tone)
    writing = (bar > 180).mean()
    above = np.abs(gray[max(0, top - start - EDGE_ROWS) : top - start - 1].mean(axis=0) / 3 - tone)
    step = (above > 8).mean()
    return int(top) if 0.002 < writing < 0.5 and step > 0.8 else None


def find_scale_bar(pixels: np.ndarray) -> tuple[float, float, float, float] | None:
    """Return the ends (x0, y0, x1, y1), px, of a horizontal scale bar, or None. A person has to confirm this proposal.

    A scale bar is the slenderest flat, nearly white or nearly black stripe in the lowest third. It is at least 4 % of
    the width long, at least eight times as long as high, and does not touch the edges of the image. `pixels`: uint8 (H,
    W, 3). The ends lie on pixel edges.
    """
    height, width = pixels.shape[:2]
    top = height * 2 // 3
    gray = cv2.cvtColor(pixels[top:], cv2.COLOR_RGB2GRAY)
    best = None
    for mask in (gray >= 240, gray <= 15):
        # Writing and ticks that touch the bar are narrower than the bar is long, so no long run of a row contains them.
        rows = _long_runs(mask, max(20, round(0.04 * width)))
        _, _, stats, _ = cv2.connectedComponentsWithStats(rows, connectivity=4)
        x, y, w, h, area = stats[1:].T.astype(np.int64)
        free = (x > 0) & (x + w < width) & (w < 0.7 * width) & (top + y + h < height)
        thin = (h >= 2) & (w >= 8 * h) & (h <= max(4, 0.03 * height)) & (area >= 0.95 * w * h)
        for k in np.flatnonzero(free & thin):
            if best is None or w[k] / h[k] > best[0]:
                middle = float(top + y[k] + h[k] / 2)
                best = (w[k] / h[k], (float(x[k]), middle, float(x[k] + w[k]), middle))
    return best[1] if best else None


def _long_runs(mask: np.ndarray, least: int) -> np.ndarray:
    """Return the runs along the rows of a mask, bool (h, w), that are at least `least` px long: uint8 (h, w)."""
    change = np.diff(np.pad(mask.view(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    short = ends[:, 1] - starts[:, 1] < least
    change[tuple(starts[short].T)] = change[tuple(ends[short].T)] = 0
    return np.cumsum(change[:, :-1], axis=1, dtype=np.int8).view(np.uint8)
