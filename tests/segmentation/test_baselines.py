"""The compared methods: each gives labels of any image, says which factors it used, and does what it is said to do."""

import sys

import numpy as np
import pytest
import torch
from skimage.segmentation import expand_labels

from crystalseg.errors import UserError
from crystalseg.evaluation.metrics import boundary_lines, detections, overlap, panoptic_quality
from crystalseg.micrographs.labels import GROUND_MARGIN
from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.networks.weights import WeightsError, file_hash
from crystalseg.segmentation.baselines import (
    basins_between,
    basins_within,
    estimate_diameter,
    regions_between,
    two_scale_labels,
)
from crystalseg.segmentation.flows import flows_from_labels
from crystalseg.segmentation.fusion import ScalePrediction
from crystalseg.segmentation.methods import JUDGES, NAMED, PACKAGE
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings, SettingsError
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import discs


def drawn(labels, noise=4):
    rng = np.random.default_rng(0)
    pixels = np.where(labels > 0, 190, 40) + rng.normal(0, noise, labels.shape)
    return Micrograph(np.repeat(np.clip(pixels, 0, 255).astype(np.uint8)[..., None], 3, axis=2), "discs", "")


@pytest.mark.parametrize("method", NAMED)
@pytest.mark.parametrize("shape", [(150, 260), (33, 40)], ids=str)
def test_every_method_segments_every_shape(method, shape, random_models):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    shares = []
    choice = Settings(method, instances=Instances(min_confidence=0.0))
    found = segment(Micrograph(pixels, "noise", ""), choice, random_models, lambda p: shares.append(p.share))
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    assert len(found.confidence) == found.labels.max()
    assert found.settings.method == method
    assert found.timings
    assert shares[-1] == 1
    fewer = rethreshold(found, pixels, Instances(min_area=60, min_confidence=0.0), random_models.judge(Settings()))
    assert fewer.settings.instances.min_area == 60
    assert (np.bincount(fewer.labels.ravel())[1:] >= 60).all()
    assert len(fewer.confidence) == fewer.labels.max()


def test_watershed_divides_touching_discs():
    labels = discs((120, 200), [(60, 60, 40), (60, 128, 36)])
    found = segment(drawn(labels), Settings("watershed"), None)
    assert panoptic_quality(labels, found.labels) > 0.9


def test_watershed_of_a_blank_image_finds_nothing():
    blank = Micrograph(np.full((50, 60, 3), 90, np.uint8), "blank", "")
    assert segment(blank, Settings("watershed"), None).labels.max() == 0


def test_regions_between_lines_by_hand():
    ground = np.zeros((60, 60), bool)
    ground[5:55, 5:55] = True
    line = np.zeros((60, 60))
    line[5:55, 29:32] = 0.3
    labels = regions_between(line, ground, 0.2, 15)
    # the skeleton is column 30, widened to 28..32
    assert labels.max() == 2
    assert (labels[10] == np.repeat([0, 1, 0, 2, 0], [5, 23, 5, 22, 5])).all()
    assert regions_between(line, ground, 0.5, 15).max() == 1


def test_basins_between_lines_by_hand():
    ground = np.zeros((60, 60), bool)
    ground[5:55, 5:55] = True
    line = np.zeros((60, 60))
    line[5:55, 29:32] = (0.3, 0.9, 0.3)
    labels = basins_between(line, ground, 0.2, 15)
    # the crest of the line is the border: of its three columns one goes to either side or the other
    assert labels.max() == 2
    assert ((labels > 0) == ground).all()
    assert (labels[10, 5:30] == labels[10, 5]).all()
    assert (labels[10, 31:55] == labels[10, 54]).all()
    assert labels[10, 5] != labels[10, 54]
    line[20:24] = 0  # a line with a gap divides nothing
    assert basins_between(line, ground, 0.2, 15).max() == 1


def test_basins_within_ground_that_has_the_lines_too_are_the_crystals_themselves():
    truth = discs((90, 120), [(45, 30, 20), (45, 85, 25)])
    line, _ = boundary_lines(truth)
    ground = expand_labels(truth, GROUND_MARGIN) > 0  # as networks are taught it
    found = basins_within(line.astype(float), ground, 0.2, 15)
    assert panoptic_quality(truth, found) > 0.95
    assert panoptic_quality(truth, basins_between(line.astype(float), ground, 0.2, 15)) < 0.9


def test_one_rescale_brings_the_mean_crystal_to_50_px(random_models, monkeypatch):
    """With a flow network that sees everything at any scale, the factor is 50 over the true mean diameter."""
    labels = discs((400, 400), [(100, 100, 50), (100, 300, 50), (300, 200, 50)])

    def perfect(self, network, factor, corners=None, report=lambda _: None, exact=False):
        grid = self.grid(factor)
        rows = (np.arange(grid.height) / factor).astype(int)
        columns = (np.arange(grid.width) / factor).astype(int)
        small = labels[np.ix_(rows, columns)]
        return ScalePrediction(
            factor, flows_from_labels(small), np.where(small > 0, 9, -9).astype(np.float32), small >= 0
        )

    monkeypatch.setattr(Pyramid, "flow", perfect)
    view = Pyramid(random_models, drawn(labels).pixels)
    assert estimate_diameter(view) == pytest.approx(101, rel=0.02)
    found = segment(drawn(labels), Settings("cellpose-original"), random_models, pyramid=view)
    assert found.settings.scales.factors == (pytest.approx(50 / 101, rel=0.02),)
    assert panoptic_quality(labels, found.labels) > 0.93  # enlarged from half size


def test_two_scales_take_large_from_one_and_small_from_the_other():
    truth = discs((400, 400), [(150, 150, 120), (330, 330, 20)])
    split = discs((400, 400), [(150, 90, 58), (150, 210, 58), (330, 330, 20)])  # what full size makes of it

    def scale(labels, step):
        small = labels[::step, ::step]
        logit = np.where(small > 0, 9, -9).astype(np.float32)
        return ScalePrediction(1 / step, flows_from_labels(small), logit, small >= 0)

    labels, sure = two_scale_labels((scale(truth, 4), scale(split, 1)), truth.shape, Instances())
    assert len(sure) == labels.max() == 2
    assert panoptic_quality(truth, labels) > 0.9


def test_missing_weights_are_named(random_models):
    from dataclasses import replace

    probe = drawn(discs((60, 60), [(30, 30, 20)]))
    wanted = {"boundary": Settings("boundary")}
    wanted |= {judge: Settings(network=network) for network, judge in JUDGES.items()}
    for name, settings in wanted.items():
        fewer = {n: network for n, network in random_models.networks.items() if n != name}
        with pytest.raises(WeightsError, match=f"train {name}"):
            segment(probe, settings, replace(random_models, networks=fewer))


# --- files and models of the cellpose package ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cellpose_files(tmp_path_factory):
    """Model files that cellpose 3 itself writes: three channels, and two with the first layer made for gray."""
    from cellpose.resnet_torch import CPnet

    folder = tmp_path_factory.mktemp("cellpose")
    ours = load_models(device="cpu")["cellpose"].state_dict()
    files = {}
    for channels in (3, 2):
        state = ours if channels == 3 else _for_gray(ours)
        net = CPnet([channels, 32, 64, 128, 256], 3, sz=3)
        net.load_state_dict(state)
        files[channels] = folder / f"model_{channels}"
        net.save_model(str(files[channels]))
    return files


def _for_gray(state):
    """The same network for gray in the first of two channels; the second, empty one has no effect.

    Each colour passes s (x - k) before the first layers' weights, one of them after a rectifier. For gray the three are
    one, exactly without the rectifier, and with it as far as the three k are alike.
    """
    state = dict(state)
    for key, place in (("conv.conv_0", 2), ("proj", 1)):
        first = f"downsample.down.res_down_0.{key}"
        norm = {part: state[f"{first}.0.{part}"] for part in ("weight", "bias", "running_mean", "running_var")}
        scale = norm["weight"] / (norm["running_var"] + 1e-5).sqrt()
        zero = norm["running_mean"] - norm["bias"] / scale
        weight = state[f"{first}.{place}.weight"] * scale[:, None, None]
        if key == "proj":
            state[f"{first}.{place}.bias"] = state[f"{first}.{place}.bias"] - (weight.sum((2, 3)) * zero).sum(1)
            zero = torch.zeros(3)
        state[f"{first}.{place}.weight"] = torch.stack((weight.sum(1), torch.zeros_like(weight[:, 0])), 1)
        plain = {"weight": 1.0, "bias": -float(zero.mean()), "running_mean": 0.0, "running_var": 1 - 1e-5}
        for part, value in plain.items():
            state[f"{first}.0.{part}"] = torch.full((2,), value)
    return state


POWDER = draw(12, (400, 500), Structure("powder", diameter=50, spread=0.15, coverage=0.3))


@pytest.mark.parametrize("channels", [3, 2])
def test_a_cellpose_file_gives_the_labels_cellpose_gives(channels, cellpose_files):
    """Single scale, all defaults, pieces of every size: average precision at IoU 0.9 of at least 0.99 against
    cellpose's own eval."""
    from cellpose.models import CellposeModel

    image = np.repeat(POWDER.image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    theirs = CellposeModel(pretrained_model=str(cellpose_files[channels]), nchan=channels)
    kind = {"channels": [0, 0]} if channels == 2 else {}
    masks, _, _ = theirs.eval(image, diameter=None, **kind)
    models = load_models(device="cpu", flow_file=cellpose_files[channels])
    assert models["cellpose"].inputs == channels
    ours = segment(Micrograph(image, "powder", ""), Settings("cellpose-noresize"), models).labels
    assert masks.max() > 20
    assert detections(overlap(masks, ours), np.array([0.9]))["ap"][0] >= 0.99


def test_a_cellpose_file_works_in_the_multi_scale_pipeline(cellpose_files):
    models = load_models(device="cpu", flow_file=cellpose_files[2])
    assert "size" not in models.networks
    assert models.versions["cellpose"] == "file model_2"
    part = slice(0, 240), slice(0, 300)
    probe = Micrograph(np.ascontiguousarray(POWDER.image[part]), "powder", "")
    for method in ("sima", "sima-plus", "cellpose-original"):
        assert panoptic_quality(POWDER.labels[part], segment(probe, Settings(method), models).labels) > 0.5


def test_the_package_runs_a_file_by_path(cellpose_files):
    probe = Micrograph(POWDER.image, "powder", "")
    found = segment(probe, Settings(f"{PACKAGE}:{cellpose_files[3]}"), None)
    assert panoptic_quality(POWDER.labels, found.labels) > 0.4
    assert found.versions["cellpose package"].startswith("3.")
    assert found.hashes == {f"cellpose model {cellpose_files[3].name}": file_hash(cellpose_files[3])}


def test_the_package_refuses_what_it_cannot_use(tmp_path, monkeypatch):
    probe = Micrograph(POWDER.image, "powder", "")
    with pytest.raises(SettingsError, match="neither a file nor the name of a model"):
        segment(probe, Settings(f"{PACKAGE}:nothing"), None)
    wrong = tmp_path / "wrong"
    wrong.write_text("no model")
    with pytest.raises(UserError, match="not a Cellpose"):
        segment(probe, Settings(f"{PACKAGE}:{wrong}"), None)
    monkeypatch.setitem(sys.modules, "cellpose.models", None)
    with pytest.raises(SettingsError, match="not installed"):
        segment(probe, Settings(f"{PACKAGE}:cyto3"), None)


def test_scales_given_for_a_method_without_a_ladder_do_not_matter(random_models):
    probe = drawn(discs((80, 80), [(40, 40, 20)]))
    plain, given = (
        segment(probe, Settings("cellpose-noresize", scales), random_models) for scales in (Scales(), Scales((0.3,)))
    )
    assert (plain.labels == given.labels).all()
    assert given.settings.scales.factors == (1.0,)
