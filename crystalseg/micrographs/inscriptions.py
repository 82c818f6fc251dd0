"""What a microscope writes into its images: the data bar and the scale bar."""

import cv2
import numpy as np


def find_data_bar(pixels: np.ndarray) -> int | None:
    """First row of the data bar that a SEM burns into the lower edge, or None.

    A bar is a band in the lowest third, at least 2 % high, whose rows mostly have one flat tone, that carries writing,
    and that begins with a step across nearly the whole width. `pixels`: uint8 (H, W, 3).
    """
    gray = pixels.mean(axis=2)
    h = len(gray)
    lowest = int(h * 2 / 3)
    band = gray[lowest:].round().astype(np.int32)
    tone = np.bincount(band[-max(3, h // 100) :].ravel(), minlength=256).argmax()
    flat = (np.abs(band - tone) <= 4).mean(axis=1) > 0.4
    # Rows of large letters or a frame line may be mostly not flat; bridge up to 4 % of the height.
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
    bar = np.abs(gray[top:] - tone)
    writing = (bar > 60).mean()
    above = np.abs(gray[max(0, top - 6) : top - 1].mean(axis=0) - tone)
    step = (above > 8).mean()
    return int(top) if 0.002 < writing < 0.5 and step > 0.8 else None


def find_scale_bar(pixels: np.ndarray) -> tuple[float, float, float, float] | None:
    """The ends (x0, y0, x1, y1) px of a horizontal scale bar, or None: a proposal that a person has to confirm.

    A bar is the slenderest flat, nearly white or nearly black stripe in the lowest third, at least 4 % of the width
    long and eight times as long as high, free of the image's edges. `pixels`: uint8 (H, W, 3). Ends lie on pixel edges.
    """
    height, width = pixels.shape[:2]
    top = height * 2 // 3
    gray = cv2.cvtColor(pixels[top:], cv2.COLOR_RGB2GRAY)
    best = None
    for mask in (gray >= 240, gray <= 15):
        # writing and ticks that touch the bar are thinner than it is long: they go when rows are opened
        least = max(20, round(0.04 * width)) | 1  # odd: an even one would move the bar by a pixel
        rows = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((1, least), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(rows, connectivity=4)
        for x, y, w, h, area in stats[1:].tolist():
            free = x > 0 and x + w < width and w < 0.7 * width and top + y + h < height
            thin = h >= 2 and w >= 8 * h and h <= max(4, 0.03 * height)
            if free and thin and area >= 0.95 * w * h and (best is None or w / h > best[0]):
                best = (w / h, (float(x), top + y + h / 2, float(x + w), top + y + h / 2))
    return best[1] if best else None
