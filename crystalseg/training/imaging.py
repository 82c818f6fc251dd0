"""Imitate what microscopes, cameras and files do to a picture. This goes further than the paper's ± 20 % of brightness
and contrast (section IV-B)."""

import cv2
import numpy as np


def imaged(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change a normalised picture, float32 (3, H, W), as another microscope, camera or file might have done."""
    x = x.astype(np.float32)
    if rng.random() < 0.2:
        x = np.repeat(x.mean(axis=0, keepdims=True), 3, axis=0)
    elif rng.random() < 0.15:
        x = x[rng.permutation(3)]
    if rng.random() < 0.4:
        x = np.sign(x) * np.abs(x) ** np.float32(np.exp(rng.uniform(-0.6, 0.6)))
    if rng.random() < 0.15:
        x = 1 - x
    x = (x - 0.5) * rng.uniform(0.7, 1.3) + 0.5 + rng.uniform(-0.2, 0.2)
    if rng.random() < 0.3:
        x = x + _illumination(x.shape[1:], rng)
    if rng.random() < 0.15:
        x = x + _scratches(x.shape[1:], rng)
    if rng.random() < 0.06:
        x = x + _stripes(x.shape[1:], rng)
    if rng.random() < 0.04:
        x = x + _seam(x.shape[1:], rng)
    if rng.random() < 0.04:
        x = x + _highlights(x.shape[1:], rng)
    if rng.random() < 0.05:
        x = _inscribed(x, rng)
    if rng.random() < 0.2:
        x = np.stack([cv2.GaussianBlur(channel, (0, 0), rng.uniform(0.4, 1.3)) for channel in x.astype(np.float32)])
    elif rng.random() < 0.06:
        x = _tilted(x, rng)
    if rng.random() < 0.3:
        channels = 1 if rng.random() < 0.5 else 3
        noise = rng.standard_normal((channels, *x.shape[1:]), dtype=np.float32)
        x = x + np.exp(rng.uniform(np.log(0.01), np.log(0.12))) * noise
    if rng.random() < 0.15:
        x = _compressed(x, rng)
    return x.astype(np.float32)


def _illumination(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a slow change of brightness over the patch, as from a tilted lamp or a vignette."""
    y, x = np.linspace(-1, 1, shape[0])[:, None], np.linspace(-1, 1, shape[1])[None]
    a, b, c = rng.normal(0, 0.12, 3)
    return (a * y + b * x + c * (y * y + x * x - 0.67)).astype(np.float32)


def _scratches(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return polishing scratches and cracks that cross crystals without dividing them."""
    marks = np.zeros(shape, np.float32)
    direction = rng.uniform(0, np.pi)
    for _ in range(rng.integers(1, 7)):
        angle = direction + rng.normal(0, 0.1) if rng.random() < 0.6 else rng.uniform(0, np.pi)
        middle = rng.uniform(0, shape)
        reach = max(shape) * rng.uniform(0.2, 1.0)
        bends = np.cumsum(rng.normal(0, 0.02 * reach, 6))
        along = np.linspace(-reach, reach, 6)
        points = np.column_stack(
            (
                middle[1] + along * np.cos(angle) - bends * np.sin(angle),
                middle[0] + along * np.sin(angle) + bends * np.cos(angle),
            )
        )
        depth = float(rng.choice([-1, 1], p=(0.75, 0.25)) * rng.uniform(0.1, 0.7))
        cv2.polylines(marks, [points.round().astype(np.int32)], False, depth, int(rng.integers(1, 5)), cv2.LINE_AA)
    return marks


def _stripes(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return stripes that run through everything: curtaining of an ion-milled section, or the streaks of a charging
    one."""
    upright = rng.random() < 0.6
    across, along = shape[::-1] if upright else shape
    profile = cv2.GaussianBlur(rng.normal(0, 1, (across, 1)), (1, 0), 0, sigmaY=float(rng.uniform(0.7, 6)))
    profile = profile / (profile.std() + 1e-6)
    if not upright:
        profile = np.where(np.abs(profile) > 1.2, profile, 0)  # charging hits single lines
    fade = np.interp(np.arange(along), np.linspace(0, along - 1, 4), rng.uniform(0, 1, 4))
    stripes = rng.uniform(0.03, 0.15) * profile * fade
    return (stripes.T if upright else stripes).astype(np.float32)


def _seam(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a step of brightness along a straight line, where two fields were stitched."""
    step = np.zeros(shape, np.float32)
    step[:, : int(rng.uniform(0.1, 0.9) * shape[1])] = rng.choice([-1, 1]) * rng.uniform(0.05, 0.25)
    return step if rng.random() < 0.5 else cv2.resize(np.ascontiguousarray(step.T), shape[::-1])


def _highlights(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return glare: round spots so bright that their middle shows nothing."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    glare = np.zeros(shape)
    for _ in range(rng.integers(1, 4)):
        middle, size = rng.uniform(0, shape), max(shape) * rng.uniform(0.02, 0.12)
        glare += rng.uniform(0.4, 1.5) * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * size**2))
    return glare.astype(np.float32)


def _tilted(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur the picture more and more towards one side, as with a tilted specimen."""
    soft = np.stack([cv2.GaussianBlur(channel, (0, 0), float(rng.uniform(1.5, 3))) for channel in x.astype(np.float32)])
    share = np.linspace(0, 1, x.shape[2])[:: rng.choice([-1, 1])][None, None]
    return x * (1 - share) + soft * share


def _inscribed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Burn in a scale bar and a number, which are not crystals."""
    height, width = x.shape[1:]
    ink = np.zeros((height, width), np.uint8)
    left, top = int(rng.uniform(0, 0.7 * width)), int(rng.uniform(0.1, 0.95) * height)
    end = left + int(rng.uniform(0.1, 0.4) * width), top + int(rng.integers(1, 6))
    cv2.rectangle(ink, (left, top), end, 255, -1)
    words = f"{rng.integers(1, 500)} um"
    cv2.putText(ink, words, (left, top - 5), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.9), 255, 1, cv2.LINE_AA)
    return x + (rng.choice([0.0, 1.1]) - x) * (ink / np.float32(255))


def _compressed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture as a JPEG file stores it."""
    picture = (np.clip((x.transpose(1, 2, 0) + 0.5) / 2, 0, 1) * 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 85))])[1]
    back = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return back.transpose(2, 0, 1).astype(np.float32) / 255 * 2 - 0.5
