"""Models by checkpoint: each adapter gives what the library's own road gives, and refuses in one sentence."""

import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation import hub
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.settings import Instances, Settings, SettingsError
from tests.conftest import discs
from tests.segmentation import hub_models

SHAPE = (90, 120)
PIXELS = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
PROBE = Micrograph(PIXELS, "noise", "")
ALL = Instances(min_area=1, min_confidence=0.0)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a model by the name of its family, written once."""
    known = {}

    def folder(name):
        if name not in known:
            torch.manual_seed(0)
            known[name] = tmp_path_factory.mktemp(name)
            getattr(hub_models, name)(known[name])
        return known[name]

    return folder


def opened(path):
    return hub._opened(Settings(f"hub:{path}"))[2]


@pytest.mark.parametrize("name", ["mask2former", "maskformer", "oneformer"])
def test_instances_are_those_of_the_librarys_pipeline(name, written, monkeypatch):
    monkeypatch.setattr(hub, "LEAST_SCORE", 0.0)
    found = segment(PROBE, Settings(f"hub:{written(name)}", instances=ALL), None)
    theirs = transformers.pipeline("image-segmentation", model=str(written(name)))
    masks = theirs(Image.fromarray(PIXELS), subtask="instance", threshold=0.0)
    masks = [m for m in masks if np.any(m["mask"])]
    assert name == "oneformer" or masks
    # they do not overlap, so that each is a crystal as it is, if it is one piece: select keeps it whole
    kept = {np.packbits(found.labels == k).tobytes() for k in range(1, found.labels.max() + 1)}
    assert kept == {np.packbits(np.asarray(m["mask"]) > 0).tobytes() for m in masks}
    assert sorted(found.confidence) == pytest.approx(sorted(m["score"] for m in masks))
    assert found.labels.shape == SHAPE
    (version,) = found.versions.values()
    assert version.startswith(f"{name} of transformers {transformers.__version__}, SHA-256 ")


@pytest.mark.parametrize("name", ["sam", "sam2", "sam_hq"])
def test_a_grid_of_points_finds_what_the_librarys_pipeline_finds(name, written):
    loose = {"points_per_crop": 6, "pred_iou_thresh": -9.0, "stability_score_thresh": -9.0}  # of random weights
    pipeline = opened(written(name))
    pipeline._preprocess_params, pipeline._forward_params, pipeline._postprocess_params = pipeline._sanitize_parameters(
        **loose
    )
    found = segment(PROBE, Settings(f"hub:{written(name)}", instances=ALL), None)
    hub._loaded.cache_clear()
    theirs = transformers.pipeline("mask-generation", model=str(written(name)))(Image.fromarray(PIXELS), **loose)
    covered = np.any([np.asarray(mask) for mask in theirs["masks"]], axis=0)
    assert covered.any()
    surest = np.asarray(theirs["masks"][int(np.argmax(theirs["scores"]))])
    assert np.array_equal(found.labels == 1, surest)  # takes all its pixels
    assert not (found.labels[~covered]).any()


@pytest.mark.parametrize("name", ["sam", "sam2", "sam_hq"])
def test_a_mask_in_each_box_is_what_the_librarys_processor_gives(name, written, monkeypatch):
    monkeypatch.setattr(hub, "PROMPTS", 2)  # two parts of three boxes
    boxes = np.array([[10, 12, 50, 60], [5, 40, 30, 80], [60, 20, 118, 85]])
    reported = []
    ours = list(hub._boxes(opened(written(name)), PIXELS, boxes, lambda *done: reported.append(done)))
    assert reported == [(2, 3), (3, 3)]
    model = opened(written(name)).model
    theirs = transformers.AutoProcessor.from_pretrained(written(name))
    inputs = theirs(images=Image.fromarray(PIXELS), input_boxes=[boxes.tolist()], return_tensors="pt")
    with torch.inference_mode():
        answer = model(inputs["pixel_values"], input_boxes=inputs["input_boxes"], multimask_output=False)
    sizes = [inputs["original_sizes"]]
    sizes += [inputs["reshaped_input_sizes"]] if "reshaped_input_sizes" in inputs else []
    (masks,) = theirs.post_process_masks(answer.pred_masks, *sizes)
    assert np.array_equal([mask for mask, _ in ours], masks[:, 0].numpy())
    assert [score for _, score in ours] == pytest.approx(answer.iou_scores[0, :, 0].tolist(), abs=1e-5)


def test_what_sima_plus_finds_is_asked_for(written, random_models, monkeypatch):
    """A model that fills each box: the crystals are the boxes of those that SiMA+ found, the surest on top."""
    truth = discs(SHAPE, [(30, 30, 15), (60, 80, 20)])

    def found(pyramid, settings, clock, progress):
        assert settings.method == "sima-plus"
        return hub.baselines.without_flow(truth, truth > 0, settings)

    def filled(model, pixels, boxes, report):
        for number, (left, top, right, bottom) in enumerate(boxes):
            mask = np.zeros(SHAPE, bool)
            mask[top:bottom, left:right] = True
            yield mask, 0.9 - 0.1 * number

    monkeypatch.setattr(hub.sima_plus, "run", found)
    monkeypatch.setattr(hub, "_boxes", filled)
    result = segment(PROBE, Settings(f"hub-prompted:{written('sam')}", instances=ALL), random_models)
    assert [(result.labels == k).sum() for k in (1, 2)] == [31 * 31, 41 * 41]
    assert result.confidence == pytest.approx([0.9, 0.8])
    assert set(result.versions) == {f"model {written('sam').name}"}


def test_boxes_of_an_empty_image_ask_nothing(written, random_models, monkeypatch):
    nothing = np.zeros(SHAPE, np.int32)
    monkeypatch.setattr(hub.sima_plus, "run", lambda p, s, c, r: hub.baselines.without_flow(nothing, nothing > 0, s))
    assert segment(PROBE, Settings(f"hub-prompted:{written('sam')}"), random_models).labels.max() == 0


def test_mask_r_cnn_gives_what_torchvision_gives(tmp_path, monkeypatch):
    from torchvision.models.detection import maskrcnn_resnet50_fpn

    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2).eval()
    path = tmp_path / "weights.pth"
    torch.save(theirs.state_dict(), path)
    monkeypatch.setattr(hub, "LEAST_SCORE", 0.0)
    monkeypatch.setattr(hub, "MOST", 5)
    model = opened(path)
    theirs.roi_heads.detections_per_img = 5
    for network in (theirs, model):
        network.transform.min_size = (128,)  # the library's 800 takes long
        network.roi_heads.score_thresh = 0.0
    ours = list(hub._mask_r_cnn(model, PIXELS))
    with torch.inference_mode():
        (result,) = theirs([torch.from_numpy(PIXELS).permute(2, 0, 1) / 255])
    assert len(ours) == 5
    assert np.array_equal([mask for mask, _ in ours], (result["masks"][:, 0] > 0.5).numpy())
    assert [score for _, score in ours] == pytest.approx(result["scores"].tolist())
    assert segment(PROBE, Settings(f"hub:{path}", instances=ALL), None).labels.shape == SHAPE
    hub._loaded.cache_clear()


@pytest.mark.parametrize("classes", [1, 2])
def test_a_network_draws_ground_or_lines_and_ground(classes, tmp_path, random_models, monkeypatch):
    hub_models.network(tmp_path, classes)
    half = np.zeros(SHAPE, np.float32)
    half[10:80, 10:110] = 0.9
    line = np.zeros(SHAPE, np.float32)
    line[:, 60] = 0.9
    assert opened(tmp_path)(torch.zeros(1, 3, 64, 64)).shape == (1, classes, 64, 64)
    maps = half[None] if classes == 1 else np.stack((line, half))
    monkeypatch.setattr(hub.baselines, "probabilities", lambda *_: maps)
    found = segment(PROBE, Settings(f"hub:{tmp_path}"), random_models)
    assert ((found.labels > 0) == (half > 0)).all()
    assert classes == 1 or found.labels.max() == 2
    smaller = rethreshold(found, PIXELS, Instances(min_area=10_000), None)
    assert smaller.labels.max() == 0


def test_any_network_of_the_library_is_run_tile_by_tile(tmp_path, random_models):
    hub_models.network(tmp_path, 2)
    found = segment(Micrograph(np.tile(PIXELS, (3, 3, 1)), "", ""), Settings(f"hub:{tmp_path}"), random_models)
    assert found.labels.shape == (270, 360)


def test_a_network_that_cannot_see_an_image_says_so(tmp_path, random_models):
    hub_models.network(tmp_path, 1, "tu-swin_tiny_patch4_window7_224")
    large = Micrograph(np.tile(PIXELS, (3, 3, 1)), "", "")
    assert segment(large, Settings(f"hub:{tmp_path}"), random_models).labels.shape == (270, 360)
    with pytest.raises(SettingsError, match="could not process this image"):  # it takes tiles of 224 px
        segment(PROBE, Settings(f"hub:{tmp_path}"), random_models)


def refused(path, method="hub"):
    with pytest.raises(SettingsError) as caught:
        segment(PROBE, Settings(f"{method}:{path}"), None)
    return str(caught.value)


def test_what_is_no_model_is_refused_in_a_sentence(tmp_path, written, random_models):
    assert "holds no model" in refused(tmp_path / "nothing")
    assert "holds no model" in refused(tmp_path)
    config = tmp_path / "config.json"
    config.write_text("{")
    assert "not valid JSON" in refused(tmp_path)
    config.write_text("[1]")
    assert "not the configuration of a model" in refused(tmp_path)
    config.write_text(json.dumps({"model_type": "upernet"}))
    assert "of the kind “upernet”, which cannot find single crystals" in refused(tmp_path)
    config.write_text(json.dumps({"model_type": "sam"}))
    assert "could not be read as a model of the kind “sam”" in refused(tmp_path)
    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(b"nothing of the kind")
    assert "could not be read as a model of the kind “Mask R-CNN”" in refused(damaged)
    assert "takes no prompts" in refused(written("mask2former"), "hub-prompted")


def test_a_network_of_many_classes_is_refused(tmp_path, random_models):
    hub_models.network(tmp_path, 3)
    with pytest.raises(SettingsError, match="This one draws 3"):
        segment(PROBE, Settings(f"hub:{tmp_path}"), random_models)


def test_without_transformers_it_says_what_to_install(written, monkeypatch):
    hub._loaded.cache_clear()

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(hub, "import_module", missing)
    assert "pip install crystalseg[hub]" in refused(written("sam"))


def test_a_pickle_is_never_loaded(written, tmp_path):
    """A folder with a pickle in place of the safetensors is refused, not read."""
    for file in written("sam").iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert "could not be read as a model of the kind “sam”" in refused(tmp_path)
