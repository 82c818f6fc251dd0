"""Shared fixtures. Networks with random weights suffice wherever only shapes and plumbing are tested."""

import os
import sys

os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
if "PYTEST_XDIST_WORKER" in os.environ:
    # each worker has a core; what it starts must not take the others'
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import hypothesis
import numpy as np
import pytest
from sqlalchemy import event

# machines that run tests are busy: how long an example takes says nothing
hypothesis.settings.register_profile("crystalseg", deadline=None)
hypothesis.settings.load_profile("crystalseg")


def discs(shape, circles):
    """Labels with filled discs: circles = [(y, x, radius), ...], later ones over earlier ones."""
    labels = np.zeros(shape, np.int32)
    for number, (cy, cx, r) in enumerate(circles, start=1):
        top, left = (max(0, int(c - r)) for c in (cy, cx))
        box = labels[top : int(cy + r) + 1, left : int(cx + r) + 1]
        y, x = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
        box[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = number
    return labels


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch, request):
    """No test touches the user's record, and none meets a fault of the program, which pages would show as a sentence,
    unless it is marked `meets_faults`."""
    monkeypatch.setenv("CRYSTALSEG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CRYSTALSEG_DATABASE_URL", raising=False)
    # Streamlit's AppTest puts a page in the main module's place; processes that a test spawns would import it.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield
    log = tmp_path / "home" / "faults.log"
    if log.exists() and request.node.get_closest_marker("meets_faults") is None:
        pytest.fail(f"a fault of the program was logged:\n{log.read_text()}")


@pytest.fixture
def quick_example(monkeypatch):
    """The app's first example is a small one, so that it is soon measured."""
    monkeypatch.setattr("crystalseg.micrographs.examples.FIRST", "etched-metal-light-microscope.png")


@pytest.fixture(scope="session")
def models():
    """The shipped weights, on the CPU. Nobody may change them."""
    from crystalseg.segmentation.models import load_models

    return load_models(device="cpu")


@pytest.fixture(scope="session")
def random_models():
    import torch

    from crystalseg.networks.boundary import build_boundary
    from crystalseg.networks.cellpose import CPNet
    from crystalseg.networks.confidence import Confidence
    from crystalseg.networks.efficientnet import EfficientUNet
    from crystalseg.networks.folded import FoldedCPNet
    from crystalseg.networks.sa2 import SA2Net
    from crystalseg.networks.sima import build_sima
    from crystalseg.networks.size import SizeModel
    from crystalseg.segmentation.models import Models

    torch.manual_seed(0)
    networks = {
        "cellpose": CPNet(),
        "sima": build_sima(),
        "confidence": Confidence(),
        "size": SizeModel(),
        "boundary": build_boundary(),
        "sima-sa2": SA2Net(5),
        "boundary-sa2": SA2Net(2),
        "folded": FoldedCPNet(),
        "efficientnet": EfficientUNet(),
        "folded-confidence": Confidence(10, 10),
        "efficientnet-confidence": Confidence(10, 10),
    }
    return Models({name: network.eval() for name, network in networks.items()}, torch.device("cpu"))


def keep(engine, run):
    """Put a run on record whose labels are in the store already, or that has none."""
    from crystalseg.record import store
    from crystalseg.record.runs import record

    return record(engine, run, {name: store.get(sha256) for name, sha256 in run.files.items() if name != "image"})


def with_pragma(engine, pragma):
    """Every later connection to the SQLite record of `engine` begins with a PRAGMA."""
    event.listen(engine, "connect", lambda connection, _record: connection.execute(f"PRAGMA {pragma}"))
    engine.dispose()


def choose_runs(app, engine, *rows):
    """On the History page, choose these rows of the list."""
    from crystalseg.record import index
    from crystalseg.ui.run_list import list_key

    selection = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    app.session_state[list_key(index.runs(engine))] = selection


def labelled(widgets, label):
    """The widget of that label."""
    return next(widget for widget in widgets if widget.label == label)


def squares(side, length, shift):
    """A side × side field full of squares of `length` px, shifted by (dy, dx): labels 1..n."""
    y, x = ((np.arange(side) + s) // length for s in shift)
    return (y[:, None] * (x.max() + 1) + x[None] + 1).astype(np.int32)


def png(pixels):
    """The bytes of a PNG file of uint8 pixels."""
    return cv2.imencode(".png", pixels)[1].tobytes()
