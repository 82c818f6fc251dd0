"""Run models of other families from a checkpoint on disk as methods.

`hub:PATH` runs a model with its own library. SAM, SAM 2 and SAM-HQ find masks from a grid of points; MaskFormer,
Mask2Former and OneFormer find instances (all by transformers); Mask R-CNN finds instances too (torchvision). A network
of segmentation-models-pytorch, such as a U-Net on a Swin transformer, draws the ground, or lines and ground.
`hub-prompted:PATH` asks a SAM-like model for one mask in the box of each crystal that SiMA+ finds.

Nothing is downloaded, and no file that could execute code is read.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crystalseg.errors import UserError
from crystalseg.micrographs.labels import bounding_box
from crystalseg.networks.weights import file_hash, load_tensors
from crystalseg.segmentation import baselines, sima_plus
from crystalseg.segmentation.masks import boxes_of
from crystalseg.segmentation.precision import best_device
from crystalseg.segmentation.progress import Clock, Progress
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.segmentation.segmentation import Segmentation
from crystalseg.segmentation.selection import select
from crystalseg.segmentation.settings import Settings, SettingsError

Report = Callable[[Progress], None]

# Names of the families in config.json: those that answer prompts, and those that find instances directly.
PROMPTABLE = ("sam", "sam2", "sam_hq")
INSTANCE = ("maskformer", "mask2former", "oneformer")
MASK_R_CNN = "Mask R-CNN"
NETWORK = "U-Net or the like"
LEAST_SCORE = 0.5  # of instances that are kept; where masks overlap, the surest takes the pixels
PROMPTS = 32  # boxes per batch
# raised by libraries for unusable models
UNUSABLE = (UserError, RuntimeError, OSError, KeyError, ValueError, TypeError, AttributeError)
MOST = 2000  # most instances of Mask R-CNN; torchvision's limit of 100 is too low for a micrograph


@dataclass(frozen=True)
class Detections:
    """Masks in an image of `shape`, as `selection.select` takes them. boxes: int32 (n, 4), top, left, bottom, right,
    ends excluded; crops: bool (h, w) each; scores: float32 (n,), 0..1."""

    shape: tuple[int, int]
    boxes: np.ndarray
    crops: list[np.ndarray]
    scores: np.ndarray

    @staticmethod
    def of(shape: tuple[int, int], masks: Iterable[tuple[np.ndarray, float]]) -> "Detections":
        """Return detections from masks, bool (H, W), and their scores, without empty masks."""
        boxes, crops, scores = [], [], []
        for mask, score in masks:
            if mask.any():
                rows, columns = bounding_box(mask)
                boxes.append((rows.start, columns.start, rows.stop, columns.stop))
                crops.append(mask[rows, columns].copy())
                scores.append(min(max(score, 0.0), 1.0))
        return Detections(shape, np.array(boxes, np.int32).reshape(-1, 4), crops, np.array(scores, np.float32))

    def mask(self, index: int) -> np.ndarray:
        """Return a mask, bool (h, w), within its box."""
        return self.crops[index]

    def crystals(self, min_area: int) -> tuple[np.ndarray, np.ndarray]:
        """Return labels, int32 (H, W), the surest first, and their scores."""
        labels, scores, _ = select([self], [self.scores], self.shape, min_area, 0.0, least_left=0.5)  # masks overlap
        return labels, scores


# --- the two methods -------------------------------------------------------------------------------------------------


def run(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Run a model by itself. SettingsError says why it cannot be used."""
    path, kind, model = _opened(settings)
    progress(Progress(kind, 0, 1, 0.1))
    if kind == NETWORK:
        labels = _by_network(model, pyramid, settings, progress)
        sure = np.ones(int(labels.max()), np.float32)
    else:
        find = _points if kind in PROMPTABLE else _mask_r_cnn if kind == MASK_R_CNN else _instances
        labels, sure = Detections.of(pyramid.shape, find(model, pyramid.pixels)).crystals(settings.instances.min_area)
    clock.lap(kind)
    return _segmentation(labels, sure, settings, path)


def run_prompted(pyramid: Pyramid, settings: Settings, clock: Clock, progress: Report) -> Segmentation:
    """Run a promptable model on the boxes of SiMA+'s crystals. SettingsError says why it cannot be used."""
    path, kind, model = _opened(settings)
    if kind not in PROMPTABLE:
        raise SettingsError(
            f"{path} holds a model of the kind “{kind}”, which takes no prompts. Use one of {', '.join(PROMPTABLE)}."
        )
    first = sima_plus.run(
        pyramid,
        replace(settings, method="sima-plus"),
        clock,
        lambda p: progress(replace(p, share=0.6 * p.share)),
    )
    clock.lap("sima-plus")

    def said(done: int, count: int) -> None:
        progress(Progress(kind, done, count, 0.6 + 0.4 * done / count))

    masks = _boxes(model, pyramid.pixels, boxes_of(first.labels)[:, [1, 0, 3, 2]], said)
    labels, sure = Detections.of(pyramid.shape, masks).crystals(settings.instances.min_area)
    clock.lap(kind)
    return _segmentation(labels, sure, settings, path)


def _segmentation(labels: np.ndarray, sure: np.ndarray, settings: Settings, path: Path) -> Segmentation:
    found = baselines.without_flow(labels, labels > 0, settings)
    return replace(found, confidence=sure, versions={f"model {path.name}": described(path)})


# --- which model a path holds ----------------------------------------------------------------------------------------


def _opened(settings: Settings) -> tuple[Path, str, Any]:
    """Return the path that a method names, the family of its model, and the model, ready for use."""
    path = Path(settings.method.partition(":")[2])
    kind = kind_of(path)
    try:
        return path, kind, _loaded(path, kind, changed(path))
    except UNUSABLE as error:
        raise SettingsError(f"{path} could not be read as a model of the kind “{kind}” ({reason(error)}).") from error


def kind_of(path: Path) -> str:
    """Return the family of the model at a path: PROMPTABLE, INSTANCE, MASK_R_CNN or NETWORK. Raises SettingsError."""
    if path.is_file() and path.suffix in (".safetensors", ".pth", ".pt"):
        return MASK_R_CNN
    config = path / "config.json"
    if not config.is_file():
        raise SettingsError(
            f"{path} holds no model. Give a folder that from_pretrained can read, with config.json and "
            "model.safetensors, or a file with weights of Mask R-CNN."
        )
    try:
        said = json.loads(config.read_text())
    except ValueError as error:
        raise SettingsError(f"{config} is not valid JSON.") from error
    if not isinstance(said, dict):
        raise SettingsError(f"{config} is not the configuration of a model.")
    if "encoder_name" in said:
        return NETWORK
    kind = str(said.get("model_type"))
    kind = {"sam2_video": "sam2"}.get(kind, kind)  # checkpoints of SAM 2 use both names
    if kind not in (*PROMPTABLE, *INSTANCE):
        known = ", ".join((*PROMPTABLE, *INSTANCE))
        raise SettingsError(
            f"{path} holds a model of the kind “{kind}”, which cannot find single crystals here. Use one of {known}."
        )
    return kind


def reason(error: Exception) -> str:
    """Return a library's message about a model that it cannot use, on one line and shortened."""
    return " ".join(str(error).split())[:200]


def changed(path: Path) -> int:
    """Return when the files of a model were last written, ns; what is cached of a model is valid until then."""
    return max(file.stat().st_mtime_ns for file in (path.iterdir() if path.is_dir() else [path]))


def described(path: Path) -> str:
    """Return family, library and hashes of the model at a path, for the record. Raises SettingsError if there is
    none."""
    return _described(path, kind_of(path), changed(path))


@lru_cache(maxsize=1)  # weights may have gigabytes, so they are read once
def _described(path: Path, kind: str, since: int) -> str:
    weights = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    hashes = ", ".join(file_hash(file)[:16] for file in weights)
    library = {MASK_R_CNN: "torchvision", NETWORK: "segmentation-models-pytorch"}.get(kind, "transformers")
    return f"{kind} of {library} {version(library)}, SHA-256 {hashes}"


@lru_cache(maxsize=1)
def _loaded(path: Path, kind: str, since: int) -> Any:
    """Load the model and keep it for the next image."""
    if kind == MASK_R_CNN:
        return _built_mask_r_cnn(path).eval().to(best_device())
    if kind == NETWORK:
        return import_module("segmentation_models_pytorch").from_pretrained(str(path)).eval().to(best_device())
    return pipeline_of("mask-generation" if kind in PROMPTABLE else "image-segmentation", path)


def pipeline_of(task: str, path: Path) -> Any:
    """Return the transformers pipeline of a task with the model in a folder; no pickle is read."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is asked of the network, whatever a folder names
    try:
        transformers = import_module("transformers")
    except ImportError as error:
        raise SettingsError("The transformers package is not installed (pip install crystalseg[hub]).") from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # A folder may name code of its own, which transformers would offer to run.
    return transformers.pipeline(
        task,
        model=str(path),
        device=best_device(),
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )


# --- how each family finds masks bool (H, W) and scores ----------------------------------------------------------


def _points(pipeline: Any, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Find masks by the mask generation of transformers with its defaults: a grid of 32 × 32 points."""
    found = pipeline(_picture(pixels))
    for mask, score in zip(found["masks"], found["scores"], strict=True):
        yield np.asarray(mask, bool), float(score)


def _instances(pipeline: Any, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """Find masks by the image segmentation of transformers."""
    for found in pipeline(_picture(pixels), subtask="instance", threshold=LEAST_SCORE):
        yield np.asarray(found["mask"]) > 0, float(found["score"])


def _boxes(
    pipeline: Any, pixels: np.ndarray, boxes: np.ndarray, report: Callable[[int, int], None]
) -> Iterator[tuple[np.ndarray, float]]:
    """Find one mask in each box (n, 4), left, top, right, bottom. The image is embedded once."""
    model, processor = pipeline.model, pipeline.image_processor
    inputs = processor(images=_picture(pixels), return_tensors="pt").to(model.device)
    sizes, scaled = inputs["original_sizes"].tolist(), inputs.get("reshaped_input_sizes")
    grow = _scale_to_input(inputs, pixels.shape[:2])
    with torch.inference_mode():
        embedded = model.get_image_embeddings(inputs["pixel_values"])
        seen = {"image_embeddings": embedded}
        if isinstance(embedded, tuple):  # SAM-HQ
            seen = {"image_embeddings": embedded[0], "intermediate_embeddings": embedded[1]}
        for start in range(0, len(boxes), PROMPTS):
            part = torch.tensor(boxes[None, start : start + PROMPTS], dtype=torch.float32) * grow
            answer = model(**seen, input_boxes=part.to(model.device), multimask_output=False)
            masks = processor.post_process_masks(
                answer["pred_masks"], sizes, reshaped_input_sizes=None if scaled is None else scaled.tolist()
            )[0]
            for mask, score in zip(masks[:, 0], answer["iou_scores"][0, :, 0].tolist(), strict=True):
                yield mask.cpu().numpy().astype(bool), score
            report(min(start + PROMPTS, len(boxes)), len(boxes))


def _scale_to_input(inputs: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the factors that convert image coordinates (x, y, x, y) to those of the network's input."""
    scaled = inputs.get("reshaped_input_sizes")
    height, width = inputs["pixel_values"].shape[-2:] if scaled is None else scaled[0].tolist()
    return torch.tensor([width / shape[1], height / shape[0]] * 2)


def _picture(pixels: np.ndarray) -> Any:
    return import_module("PIL.Image").fromarray(pixels)


def _built_mask_r_cnn(path: Path) -> torch.nn.Module:
    """Return torchvision's Mask R-CNN on ResNet-50, first or second version, with these weights."""
    state = load_tensors(path)
    detection = import_module("torchvision.models.detection")
    is_second = "backbone.fpn.inner_blocks.0.1.weight" in state
    build = detection.maskrcnn_resnet50_fpn_v2 if is_second else detection.maskrcnn_resnet50_fpn
    classes = len(state["roi_heads.box_predictor.cls_score.bias"])
    network = build(weights=None, weights_backbone=None, num_classes=classes, box_detections_per_img=MOST)
    network.load_state_dict(state)
    # masks stay small until they are needed: 2000 masks of full size would not fit into memory
    network.transform.postprocess = lambda found, sizes, _: [
        one | {"size": size} for one, size in zip(found, sizes, strict=True)
    ]
    return network


def _mask_r_cnn(network: Any, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    device = next(network.parameters()).device
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32) / 255).to(device)
    paste = import_module("torchvision.models.detection.roi_heads").paste_masks_in_image
    resize = import_module("torchvision.models.detection.transform").resize_boxes
    with torch.inference_mode():
        (found,) = network([image])
        boxes = resize(found["boxes"], list(found["size"]), list(pixels.shape[:2]))
        for box, mask, score in zip(boxes, found["masks"], found["scores"].tolist(), strict=True):
            if score >= LEAST_SCORE:
                full = paste(mask[None], box[None], pixels.shape[:2])
                yield (full[0, 0] > 0.5).cpu().numpy(), score


def _by_network(network: torch.nn.Module, pyramid: Pyramid, settings: Settings, progress: Report) -> np.ndarray:
    """Return labels of the ground that a network draws, divided by its lines, or by distance if it draws no lines."""
    try:
        maps = baselines.probabilities(pyramid, network, progress)
    except (AssertionError, RuntimeError) as error:  # a Swin transformer only takes tiles of its own size
        raise SettingsError(f"The network could not process this image ({reason(error)}).") from error
    least = settings.instances.min_area
    if len(maps) == 1:
        return baselines.split_by_distance(maps[0] > 0.5, least)
    if len(maps) == 2:
        return baselines.basins_between(maps[0], maps[1] > 0.5, baselines.BOUNDARY_THRESHOLD, least)
    raise SettingsError(f"A network must draw one map (ground) or two (lines, ground). This one draws {len(maps)}.")
