"""Draw things on a micrograph that are not crystals: letters, arrows, scale bars, frames, insets and data bars. Draw
also pictures that show no crystal at all."""

import cv2
import numpy as np
from skimage.measure import label

from crystalseg.synthetic.packing import smooth_noise

WORDS = ("a", "b", "(c)", "d)", "A", "SEI", "200 nm", "1 um", "50 um", "x5,000", "15.0kV", "WD 8.2mm", "Fe3O4", "2 min")
GROUNDS = ("plain", "textured", "film", "holes", "cracked", "dusty")


def inscribe(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Add to a micrograph, uint8 (H, W, 3) with labels int32 (H, W), what people and microscopes draw on a picture.

    Letters, arrows, scale bars and frames are drawn over crystals and change no label. A data bar or an inset hides the
    crystals under it, so the labels are 0 there. If it divides a crystal, each visible piece gets a label of its own.
    """
    image, covered = image.copy(), np.zeros(labels.shape, bool)
    if rng.random() < 0.35:
        _inset(image, covered, rng)
    for _ in range(rng.integers(1, 5)):
        (_letters, _letters, _arrow, _scale_bar, _frame)[rng.integers(5)](image, rng)
    if rng.random() < 0.4:
        _data_bar(image, covered, rng)
    if covered.any():
        labels = label(np.where(covered, 0, labels), connectivity=1).astype(np.int32)
    return image, labels


def draw_ground(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Draw a picture, uint8 (H, W, 3), that shows no crystal: a plain or textured ground, a carbon film, a film with
    holes, cracks, or dust."""
    kind = GROUNDS[rng.integers(len(GROUNDS))]
    level = float(rng.uniform(0.05, 0.9))
    light = np.full(shape, level, np.float32)
    coarse = float(np.exp(rng.uniform(np.log(1.0), np.log(12.0))))
    if kind in ("textured", "film", "cracked"):
        light += rng.uniform(0.02, 0.12) * smooth_noise(rng, shape, coarse)
        light += rng.uniform(0.0, 0.08) * smooth_noise(rng, shape, 4 * coarse)
    if kind == "holes":
        field = smooth_noise(rng, shape, float(rng.uniform(0.04, 0.15)) * min(shape))
        edge = rng.uniform(0.02, 0.3)
        # A lacey film: ridges of a slow field, dark or bright against the background behind it.
        light += rng.choice([-1, 1]) * rng.uniform(0.1, 0.4) * np.exp(-np.square(field / edge))
    if kind == "cracked":
        field = smooth_noise(rng, shape, float(rng.uniform(0.1, 0.3)) * min(shape))
        light -= rng.uniform(0.1, 0.4) * np.exp(-np.square(field / 0.02))
    if kind == "dusty":
        for _ in range(rng.integers(3, 60)):
            centre = [int(rng.uniform(0, n)) for n in shape[::-1]]
            cv2.circle(light, centre, int(rng.integers(0, 3)), level + float(rng.uniform(-0.3, 0.3)), -1)
    light += rng.uniform(0, 0.15) * smooth_noise(rng, shape, max(shape) / 2)
    if rng.random() < 0.2:  # charging: bright or dark bands along the scan
        light += rng.uniform(0.02, 0.12) * np.repeat(smooth_noise(rng, (shape[0], 1), 2.0), shape[1], 1)
    light = np.asarray(cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.4, 1.6))))
    light += np.exp(rng.uniform(np.log(0.003), np.log(0.08))) * rng.standard_normal(shape, dtype=np.float32)
    tint = 1 + (rng.uniform(-0.15, 0.15, 3) if rng.random() < 0.25 else np.zeros(3))
    return (np.clip(light[..., None] * tint, 0, 1) * 255 + 0.5).astype(np.uint8)


def _ink(image: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int]:
    """Return white or black, usually the one that contrasts with the picture, or a colour in a quarter of cases."""
    if rng.random() < 0.25:
        red, green, blue = ((255, 0, 0), (255, 255, 0), (0, 255, 255), (0, 0, 255))[rng.integers(4)]
        return red, green, blue
    dark = image.mean() < 128
    return (255, 255, 255) if dark == (rng.random() < 0.8) else (0, 0, 0)


def _place(image: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a random place (x, y). It is more often near the edges, where letters usually are."""
    height, width = image.shape[:2]
    share = rng.beta(0.6, 0.6, 2)
    return int(share[0] * 0.85 * width), int((0.1 + share[1] * 0.88) * height)


def _text(image: np.ndarray, at: tuple[int, int], rng: np.random.Generator, ink: tuple[int, int, int]) -> None:
    words = WORDS[rng.integers(len(WORDS))]
    size = float(np.exp(rng.uniform(np.log(0.35), np.log(0.004 * min(image.shape[:2]) + 0.6))))
    font = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)[rng.integers(3)]
    thick = max(1, round(size * rng.uniform(1, 3)))
    if rng.random() < 0.2:  # with a filled background
        (width, height), below = cv2.getTextSize(words, font, size, thick)
        back = tuple(255 - c for c in ink)
        cv2.rectangle(image, (at[0] - 3, at[1] - height - 3), (at[0] + width + 3, at[1] + below + 2), back, -1)
    cv2.putText(image, words, at, font, size, ink, thick, cv2.LINE_AA)


def _letters(image: np.ndarray, rng: np.random.Generator) -> None:
    _text(image, _place(image, rng), rng, _ink(image, rng))


def _arrow(image: np.ndarray, rng: np.random.Generator) -> None:
    start = np.array(_place(image, rng))
    turn, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.06, 0.2) * min(image.shape[:2])
    end = (start + length * np.array([np.cos(turn), np.sin(turn)])).astype(int)
    thick = int(rng.integers(1, 5))
    cv2.arrowedLine(image, start.tolist(), end.tolist(), _ink(image, rng), thick, cv2.LINE_AA, 0, rng.uniform(0.2, 0.5))


def _scale_bar(image: np.ndarray, rng: np.random.Generator) -> None:
    x, y = _place(image, rng)
    ink = _ink(image, rng)
    right = x + int(rng.uniform(0.1, 0.35) * image.shape[1])
    thick = int(rng.integers(1, 10))
    cv2.rectangle(image, (x, y), (right, y + thick), ink, -1)
    if rng.random() < 0.3:
        for end in (x, right):
            cv2.line(image, (end, y - thick - 4), (end, y + thick + 4), ink, max(1, thick // 2))
    if rng.random() < 0.8:
        _text(image, (x, y - 6), rng, ink)


def _frame(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a rectangle, solid or dashed, or a circle that marks a part of the image."""
    x, y = _place(image, rng)
    size = (rng.uniform(0.1, 0.4, 2) * image.shape[1::-1]).astype(int)
    ink, thick = _ink(image, rng), int(rng.integers(1, 4))
    if rng.random() < 0.3:
        cv2.circle(image, (x, y), int(size.min()) // 2, ink, thick, cv2.LINE_AA)
        return
    before = image.copy()
    cv2.rectangle(image, (x, y - int(size[1])), (x + int(size[0]), y), ink, thick)
    if rng.random() < 0.4:
        rows, columns = np.indices(image.shape[:2])
        gaps = (rows + columns) // 8 % 2 == 0
        image[gaps] = before[gaps]


def _inset(image: np.ndarray, covered: np.ndarray, rng: np.random.Generator) -> None:
    """Draw another picture in a corner, with or without a frame: a diffraction pattern, a curve, or ground."""
    height, width = image.shape[:2]
    h, w = (max(24, int(n * rng.uniform(0.15, 0.4))) for n in (height, width))
    top, left = int(rng.choice([0, max(0, height - h)])), int(rng.choice([0, max(0, width - w)]))
    part = (slice(top, top + h), slice(left, left + w))
    inset = draw_ground(rng, (h, w))
    kind = rng.integers(3)
    if kind == 0:  # diffraction: spots on a lattice, or rings, around a bright centre
        inset = np.full((h, w, 3), int(rng.integers(0, 40)), np.uint8)
        radius = max(1, min(h, w) // 50)
        if rng.random() < 0.5:
            for r in np.cumsum(rng.uniform(0.05, 0.15, 5)) * min(h, w):
                cv2.circle(inset, (w // 2, h // 2), int(r), (int(rng.integers(60, 200)),) * 3, 1, cv2.LINE_AA)
        else:
            a, b = rng.uniform(-0.2, 0.2, (2, 2)) * min(h, w)
            for i in range(-6, 7):
                for j in range(-6, 7):
                    spot = np.array([w, h]) / 2 + i * a + j * b
                    cv2.circle(inset, spot.astype(int).tolist(), radius, (230,) * 3, -1, cv2.LINE_AA)
        cv2.circle(inset, (w // 2, h // 2), 3 * radius, (255,) * 3, -1, cv2.LINE_AA)
    elif kind == 1:  # a spectrum or histogram on white
        inset = np.full((h, w, 3), 255, np.uint8)
        curve = np.abs(smooth_noise(rng, (1, w), 4.0)[0])
        points = np.column_stack((np.arange(w), h - 6 - curve / (curve.max() + 1e-6) * 0.8 * h)).astype(np.int32)
        cv2.polylines(inset, [points], False, (0, 0, 0), 1, cv2.LINE_AA)
        cv2.line(inset, (0, h - 5), (w, h - 5), (0, 0, 0), 1)
    image[part] = inset[: image[part].shape[0], : image[part].shape[1]]
    if rng.random() < 0.7:
        cv2.rectangle(image, (left, top), (left + w - 1, top + h - 1), _ink(image, rng), int(rng.integers(1, 5)))
    covered[part] = True


def _data_bar(image: np.ndarray, covered: np.ndarray, rng: np.random.Generator) -> None:
    """Draw the strip with the microscope's settings, of any gray, along any edge."""
    side = rng.choice(4, p=(0.7, 0.15, 0.075, 0.075))  # below, above, left, right
    length = image.shape[0] if side < 2 else image.shape[1]
    deep = max(12, int(length * rng.uniform(0.05, 0.14)))
    strip = slice(length - deep, length) if side in (0, 3) else slice(0, deep)
    part = (strip, slice(None)) if side < 2 else (slice(None), strip)
    tone = (0, 255, int(rng.integers(256)))[rng.choice(3, p=(0.5, 0.2, 0.3))]
    image[part] = tone
    bar = image[part]
    ink = (255,) * 3 if tone < 128 else (0,) * 3
    height, width = bar.shape[:2]
    canvas = np.ascontiguousarray(bar)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.uniform(0, 0.9 * width)), int(rng.uniform(0.3, 0.9) * height)
        if rng.random() < 0.3:
            end = (at[0] + int(rng.uniform(0.05, 0.3) * width), at[1] + max(1, height // 15))
            cv2.rectangle(canvas, at, end, ink, -1)
        else:
            _text(canvas, at, rng, ink)
    image[part] = canvas
    covered[part] = True
