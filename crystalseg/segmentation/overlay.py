"""Draw outlines and maps over a micrograph."""

import cv2
import numpy as np

from crystalseg.micrographs.labels import areas
from crystalseg.segmentation.colormap import colours_by_size

OUTLINE = (255, 214, 10)


def boundaries(labels: np.ndarray, thickness: int = 1) -> np.ndarray:
    """Return the inner outline of every crystal, bool (H, W)."""
    edge = np.zeros(labels.shape, bool)
    for ours, theirs in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = labels[ours] != labels[theirs]
        edge[ours] |= differ
        edge[theirs] |= differ
    edge &= labels > 0
    if thickness > 1:
        edge = cv2.dilate(edge.astype(np.uint8), np.ones((thickness, thickness), np.uint8)) > 0
    return edge


def outlined(image: np.ndarray, labels: np.ndarray, opacity: float = 0.0, thickness: int | None = None) -> np.ndarray:
    """Return the image with crystals outlined, and filled in the colour of their size at `opacity` 0..1."""
    picture = image.copy()
    if opacity > 0 and labels.any():
        area = areas(labels)
        colours = np.zeros((len(area), 3), np.uint8)
        present = area > 0
        present[0] = False
        colours[present] = colours_by_size(np.sqrt(area[present]))
        blended = cv2.addWeighted(picture, 1 - opacity, colours[labels], opacity, 0)
        picture = np.where((labels > 0)[..., None], blended, picture)
    thickness = thickness or max(1, round(max(labels.shape) / 900))
    picture[boundaries(labels, thickness)] = OUTLINE
    return picture


def overlay(image: np.ndarray, picture: np.ndarray, opacity: float) -> np.ndarray:
    """Return the image with `picture`, resized to the image, over it at `opacity` 0..1."""
    picture = cv2.resize(picture, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(image, 1 - opacity, picture, opacity, 0)


def fit(picture: np.ndarray, longest: int) -> np.ndarray:
    """Return the picture, reduced so that its longer side is at most `longest` px."""
    factor = longest / max(picture.shape[:2])
    if factor >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
