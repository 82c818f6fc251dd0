"""Export crystal outlines to other programs: ImageJ ROIs, GeoJSON, COCO."""

import io
import json
import zipfile
from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
from roifile import ImagejRoi
from scipy import ndimage

from crystalseg.measurement.query import LEFT_OUT


def polygons(labels: np.ndarray) -> Iterator[tuple[int, list[list[np.ndarray]]]]:
    """Yield each label of `labels`, integer (H, W), with its pieces. A piece is the outer ring and the rings of its
    holes, each int (k, 2), (x, y). Rings follow pixel edges, so the area of a ring equals its number of pixels."""
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = (labels[box] == label).astype(np.uint8)
        # At double size a pixel has four parts, one per corner, so the parts on the border identify its corners.
        twice = np.pad(mask.repeat(2, 0).repeat(2, 1), 1)
        rings, family = cv2.findContours(twice, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        offset = np.array([box[1].start, box[0].start])
        pieces: dict[int, list[np.ndarray]] = {}
        for k, ring in enumerate(rings):
            parent = family[0][k][3]
            points = ring[:, 0].astype(np.int32) - 1
            corners = _corners((points + points % 2) >> 1) + offset
            # the outer ring of a piece comes before its holes
            pieces.setdefault(k if parent < 0 else parent, []).insert(0 if parent < 0 else 1, corners)
        yield label, list(pieces.values())


def _corners(points: np.ndarray) -> np.ndarray:
    """Return a closed ring (k, 2) without repeated points and without points in the middle of a side."""
    points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def imagej_rois(labels: np.ndarray) -> bytes:
    """Return a ZIP of ImageJ ROIs for the ROI Manager: one polygon per piece of a crystal, named by crystal number."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for label, pieces in polygons(labels):
            for k, rings in enumerate(pieces):
                name = f"{label:05d}" if k == 0 else f"{label:05d}-{k}"
                roi = ImagejRoi.frompoints(rings[0].astype(np.float32), name=name)
                archive.writestr(f"{name}.roi", roi.tobytes())
    return buffer.getvalue()


def geojson(labels: np.ndarray, crystals: pd.DataFrame) -> bytes:
    """Return a GeoJSON FeatureCollection (RFC 7946; coordinates x, y in px, y downwards): one MultiPolygon per crystal,
    with its table row as properties."""
    facts = crystals.set_index("id").to_dict("index")
    features = []
    for label, pieces in polygons(labels):
        parts = [[_wound(ring, hole=k > 0) for k, ring in enumerate(rings)] for rings in pieces]
        properties = {"id": label} | {key: _plain(value) for key, value in facts.get(label, {}).items()}
        features.append(
            {
                "type": "Feature",
                "id": label,
                "properties": properties,
                "geometry": {"type": "MultiPolygon", "coordinates": parts},
            }
        )
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def _wound(ring: np.ndarray, hole: bool) -> list:
    """A closed ring whose inside lies to its left where y points up, or to its right if it is a hole (RFC 7946, 3.1.6:
    by the numbers of the coordinates)."""
    x, y = ring.T.astype(np.int64)
    turns_left = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0
    ordered = ring[::-1] if turns_left == hole else ring
    return np.vstack((ordered, ordered[:1])).tolist()


def _plain(value: object) -> object:
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def coco(labels: np.ndarray, crystals: pd.DataFrame, name: str) -> bytes:
    """Return a COCO instances file for one image: run-length masks (exact, uncompressed, column by column) in the
    categories crystal, pore and artefact."""
    kinds = ("crystal", "pore", "artefact", LEFT_OUT)
    of = dict(zip(crystals["id"], crystals["kind"], strict=True))
    sure = dict(zip(crystals["id"], crystals["confidence"], strict=True)) if "confidence" in crystals else {}
    height, width = labels.shape
    annotations = []
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == label
        top, left = box[0].start, box[1].start
        annotations.append(
            {
                "id": label,
                "image_id": 1,
                "category_id": kinds.index(of.get(label, "crystal")) + 1,
                "segmentation": {"size": [height, width], "counts": _run_lengths(mask, top, left, (height, width))},
                "area": int(mask.sum()),
                "bbox": [left, top, box[1].stop - left, box[0].stop - top],
                "iscrowd": 0,
                "score": _plain(float(sure.get(label, 1.0))),
            }
        )
    whole = {
        "images": [{"id": 1, "file_name": name, "width": width, "height": height}],
        "categories": [{"id": k, "name": kind} for k, kind in enumerate(kinds, start=1)],
        "annotations": annotations,
    }
    return json.dumps(whole).encode()


def _run_lengths(mask: np.ndarray, top: int, left: int, shape: tuple[int, int]) -> list[int]:
    """Return the run lengths of a mask, column by column through an image of size `shape`, starting outside the
    mask."""
    steps = np.diff(np.pad(mask.astype(np.int8), ((1, 1), (0, 0))), axis=0).T  # each row is a column of the image
    column, row = np.nonzero(steps)
    edges = (column + left) * shape[0] + row + top
    # a run that reaches the lower edge continues at the top of the next column
    same = np.flatnonzero(np.diff(edges) == 0)
    edges = np.delete(edges, np.concatenate((same, same + 1)))
    counts = np.diff(np.concatenate(([0], edges, [shape[0] * shape[1]]))).tolist()
    return counts if counts[-1] else counts[:-1]
