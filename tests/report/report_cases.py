"""What the tests of reports share: measured fields, and a reader's eyes."""

import io
import warnings
from dataclasses import replace

import cv2
import numpy as np
from pypdf import PdfReader

from crystalseg.measurement.figures import DEFINITIONS
from crystalseg.measurement.measurement import measure
from crystalseg.measurement.specification import Limit
from crystalseg.measurement.uncertainty import Validation
from crystalseg.micrographs.calibration import Calibration, from_um_per_px
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record import store
from crystalseg.record.profiles import Profile
from crystalseg.record.runs import describe, labels_file
from crystalseg.report.pdf import build_pdf
from crystalseg.report.report import Details, report_of
from crystalseg.segmentation.corrections.correction import Correction
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

DRAWN = draw(8, (260, 300), Structure("powder", diameter=35, spread=0.3))


def case(labels=DRAWN.labels, um_per_px=0.5):
    calibration = from_um_per_px(um_per_px) if um_per_px else None
    micrograph = Micrograph(DRAWN.image, "probe.tif", "ab" * 32, calibration, ("A note.",))
    fused = Prediction(flows_from_labels(labels), np.where(labels > 0, 5.0, -5.0).astype(np.float32))
    scale = ScalePrediction(1.0, fused.flow, fused.foreground, labels >= 0)
    found = Segmentation(
        labels,
        np.full(labels.max(), 0.9, np.float32),
        fused,
        (scale,),
        None,
        Settings(),
        {"scale 1": 1.0},
        {"cellpose": "cd" * 32},
        {"cellpose": "2026-01-01"},
    )
    measurement = measure(labels, micrograph.um_per_px, "exclude", found.confidence)
    return micrograph, found, measurement, described(micrograph, found, measurement)


def described(micrograph, found, measurement, corrections=()):
    kept = {"labels": labels_file(found.labels, found.confidence)}
    store.put(kept["labels"])
    return describe(micrograph, found, measurement.summary, kept, corrections)


def pdf(micrograph, found, measurement, run, details=None, **more):
    return build_pdf(report_of(micrograph, found, measurement, run, None, details or Details(), **more))


def text_of(pdf):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a reader must have nothing to complain about
        reader = PdfReader(io.BytesIO(pdf), strict=True)
        return reader, [page.extract_text() for page in reader.pages]


def sample():
    """Two fields with a specification, everything known of its uncertainty, corrections in one of them."""
    parts = []
    for nth in (1, 2):
        micrograph, found, measurement, run = case()
        known = Calibration(0.5, "stage micrometer", 0.005)
        micrograph = replace(micrograph, calibration=known, name=f"field {nth}.tif")
        log = [Correction("merge", (1, 2), who="A. Kern", when="2026-01-02T03:04:05+00:00").to_dict()]
        run = described(micrograph, found, measurement, log if nth == 2 else [])
        parts += report_of(micrograph, found, measurement, run, None).parts
    limits = (Limit("mean", 5, 500), Limit("d90", upper=5.0), Limit("area_above", None, 0.6, 60.0))
    profile = Profile("round grain", "product 7", kind="discs", limits=limits, decision_rule="guarded")
    return parts, profile


ERRORS = {key: [0.01, -0.02, 0.0] for key in DEFINITIONS}
VALIDATED = Validation("discs", "sima-plus", 3, ERRORS, Settings().conditions)
LOGO = cv2.imencode(".png", np.full((40, 120, 3), 90, np.uint8))[1].tobytes()
