"""Draw a scale bar and test lines into a report's pictures, and embed pictures in pages."""

import base64
import io

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from crystalseg.measurement.intercept import Intercepts
from crystalseg.measurement.rounding import exact
from crystalseg.report.fonts import FILES, FONT


def jpeg_address(picture: np.ndarray, quality: int = 80) -> str:
    """Return the address of a JPEG of a picture, uint8 (H, W, 3), that holds the JPEG itself (a data URI)."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def scale_bar(width_um: float) -> float:
    """Return a round length (1, 2 or 5 × 10^k µm), about a fifth of the width of an image `width_um` wide."""
    target = width_um / 5
    power = 10.0 ** np.floor(np.log10(target))
    return float(max(step * power for step in (1, 2, 5) if step * power <= target))


def with_test_lines(picture: np.ndarray, intercepts: Intercepts, factor: float = 1.0) -> np.ndarray:
    """Return a copy of an RGB picture with the test lines and a dot at each crossing. factor: size of the picture
    relative to the image in which the lines were counted."""
    drawn = picture.copy()
    wide = max(1, round(max(picture.shape[:2]) / 700))
    for line in intercepts.lines:
        points = np.rint(line[:, ::-1] * factor).astype(np.int32)
        cv2.polylines(drawn, [points], False, (0, 158, 115), wide, cv2.LINE_AA)
    for y, x in intercepts.crossings:
        cv2.circle(drawn, (round(x * factor), round(y * factor)), 2 * wide, (213, 94, 0), -1, cv2.LINE_AA)
    return drawn


def draw_scale_bar(picture: np.ndarray, um_per_px: float) -> np.ndarray:
    """Return a copy of the RGB picture with a labelled scale bar of round length in its lower left corner."""
    height, width = picture.shape[:2]
    length_um = scale_bar(width * um_per_px)
    length = round(length_um / um_per_px)
    unit = max(width, height) / 1000
    thick, x, y = max(2, round(6 * unit)), round(25 * unit), height - round(30 * unit)
    words = _length(length_um)
    # OpenCV's own fonts have no letter µ.
    font = ImageFont.truetype(FILES[FONT], max(8, round(30 * unit)))
    _, _, wide, tall = font.getbbox(words)
    edge = round(12 * unit)
    box = (x - edge, y - thick - tall - 2 * edge, x + max(length, round(wide)) + edge, y + edge)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.rectangle(box, "white")
    draw.rectangle((x, y - thick, x + length, y), "black")
    draw.text((x, y - thick - edge // 2), words, "black", font, "ld")
    return np.asarray(image)


def _length(um: float) -> str:
    """Return the length of a scale bar in the unit in which its number is short."""
    factor, unit = next((f, u) for f, u in ((1e-3, "mm"), (1, "µm"), (1e3, "nm")) if um * f >= 1 or u == "nm")
    return f"{exact(float(f'{um * factor:.3g}'))} {unit}"
