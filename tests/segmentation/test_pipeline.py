"""The road as a whole, with networks of random weights: shapes, tiles, progress, and what may not change results."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.flows import flow_errors, flows_from_labels
from crystalseg.segmentation.fusion import Prediction, ScalePrediction
from crystalseg.segmentation.instances import confidences, instances
from crystalseg.segmentation.methods import JUDGES, LADDERS
from crystalseg.segmentation.models import BUILD, load_models
from crystalseg.segmentation.pipeline import rethreshold, segment
from crystalseg.segmentation.progress import Cancelled
from crystalseg.segmentation.proposals import propose
from crystalseg.segmentation.pyramid import Pyramid, relevant_tiles
from crystalseg.segmentation.scales import Scales
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.segmentation.sima_plus import Chooser, choose, judge
from crystalseg.segmentation.tiling import Grid
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import discs


def picture(height, width, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Micrograph(pixels, "noise", "")


@pytest.mark.parametrize("shape", [(300, 260), (40, 800), (33, 33), (100, 1)], ids=str)
@pytest.mark.parametrize("method", LADDERS)
def test_any_shape_works_with_every_ladder(shape, method, random_models):
    found = segment(picture(*shape), Settings(method), random_models)
    assert found.labels.shape == shape
    assert found.labels.dtype == np.int32
    assert found.fused.flow.shape == (2, *shape)
    assert len(found.confidence) == found.labels.max()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert (found.attention is not None) == method.startswith("sima")
    assert np.isfinite(found.fused.foreground).all()


def test_any_number_of_scales(random_models):
    scales = Scales((0.3, 0.5, 0.7, 0.9, 1.2), (100, 60, 30, 15, 5))
    found = segment(picture(120, 90), Settings("sima", scales), random_models)
    assert [s.factor for s in found.scales] == [0.3, 0.5, 0.7, 0.9, 1.2]
    assert found.attention.shape[0] == 6


def test_the_image_is_enlarged_where_small_crystals_are(random_models, monkeypatch):
    small = np.zeros((500, 400), bool)
    monkeypatch.setattr("crystalseg.segmentation.sima_plus.small_crystals", lambda _: small)
    halvings = segment(picture(500, 400), Settings(), random_models).scales
    assert [s.factor for s in halvings] == [0.5, 1]
    small[10:20, 30:40] = True
    shares = []
    found = segment(picture(500, 400), Settings(), random_models, lambda p: shares.append(p.share))
    assert [s.factor for s in found.scales] == [0.5, 1, 2]
    covered = found.scales[-1].covered
    assert covered.shape == (1000, 800)
    assert covered[20:40, 60:80].all()
    assert covered.mean() < 0.3
    assert shares == sorted(shares)
    assert found.fused.flow.shape == (2, 500, 400)
    chosen = segment(picture(500, 400), Settings(scales=Scales((0.5, 1.0))), random_models)
    assert [s.factor for s in chosen.scales] == [0.5, 1]  # what the user chose


def test_thresholds_do_not_decide_where_to_enlarge():
    """Else other thresholds on the same maps would not be what a fresh run gives."""
    drawn = draw(5, (300, 260), Structure("powder", diameter=14.0))
    micrograph = Micrograph(drawn.image, "powder", "")
    models = load_models(device="cpu")
    strict = Settings(instances=Instances(min_confidence=0.9))
    usual, few = (segment(micrograph, s, models) for s in (Settings(), strict))
    assert usual.scales[-1].factor == 2
    assert (usual.scales[-1].covered == few.scales[-1].covered).all()
    assert (
        rethreshold(usual, micrograph.pixels, strict.instances, models.judge(Settings())).labels == few.labels
    ).all()


def test_progress_only_grows_and_ends_at_one(random_models):
    shares = []
    segment(picture(300, 300), Settings(), random_models, lambda p: shares.append(p.share))
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_cancelling_stops_the_run(random_models):
    def stop(progress):
        if progress.stage.startswith("scale"):
            raise Cancelled

    with pytest.raises(Cancelled):
        segment(picture(100, 100), Settings(), random_models, stop)


def test_the_same_input_gives_the_same_labels(random_models):
    first, second = (segment(picture(150, 150), Settings(), random_models).labels for _ in range(2))
    assert (first == second).all()


def test_tiles_are_left_out_only_where_their_scale_has_no_weight():
    grid = Grid(800, 800)
    share = np.zeros((100, 100), np.float32)
    share[:10, :10] = 1
    corners = relevant_tiles(grid, share, 0.02)
    assert grid.corners[0] in corners
    assert len(corners) < len(grid.corners) / 2
    assert relevant_tiles(grid, share, 0.0) == grid.corners
    # every tile that covers part of the weighted corner is there
    assert all((y < 80 + 8 and x < 80 + 8) == ((y, x) in corners) for y, x in grid.corners)


def test_relevance_zero_computes_everything_and_skipping_changes_little(random_models):
    everything = segment(picture(500, 400), Settings("sima", Scales(tile_relevance=0)), random_models)
    assert all(scale.covered.all() for scale in everything.scales)


def test_attention_is_of_the_unsqueezed_image(random_models):
    image = picture(100, 400).pixels
    assert Pyramid(random_models, image).attention("sima").shape == (5, 56, 224)


@pytest.mark.parametrize("method", ["sima-plus", "sima"])
def test_new_thresholds_need_no_flow_network(method, random_models):
    found = segment(picture(200, 200), Settings(method), random_models)
    other = Instances(foreground_threshold=0.05, min_area=40, min_confidence=0)
    repeated = rethreshold(found, picture(200, 200).pixels, other, random_models.judge(Settings()))
    settings = Settings(method, instances=other)
    fresh = segment(picture(200, 200), settings, random_models)
    assert (repeated.labels == fresh.labels).all()
    assert repeated.settings == settings


def test_a_higher_least_confidence_is_what_a_fresh_run_gives():
    image = Micrograph(draw(6, (200, 220), Structure("polycrystal", diameter=40)).image, "drawn", "")
    models = load_models(device="cpu")
    found = segment(image, Settings(instances=Instances(min_confidence=0.0)), models)
    middle = Settings(instances=Instances(min_confidence=float(np.median(found.confidence))))
    fresh = segment(image, middle, models)
    # without the networks: nothing is proposed or judged again
    quick = rethreshold(found, image.pixels, middle.instances, None)
    assert 0 < quick.labels.max() < found.labels.max()
    assert (quick.labels == fresh.labels).all()
    np.testing.assert_array_equal(quick.confidence, fresh.confidence)
    np.testing.assert_array_equal(quick.fused.flow, fresh.fused.flow)
    np.testing.assert_array_equal(quick.origin, fresh.origin)


def test_confidence_is_high_for_a_clear_crystal_and_low_for_a_doubtful_one():
    labels = discs((60, 60), [(20, 20, 10), (45, 45, 8)])
    flow = flows_from_labels(labels)
    foreground = np.where(labels == 1, 6.0, 0.0).astype(np.float32)
    flow[:, labels == 2] *= 0.5
    clear, doubtful = confidences(labels, Prediction(flow, foreground))
    assert clear > 0.98
    assert doubtful == pytest.approx(0.25, abs=0.01)


def test_doubtful_crystals_are_dropped_and_the_rest_renumbered():
    labels = discs((60, 90), [(20, 20, 10), (45, 45, 8), (20, 70, 9)])
    foreground = np.where(labels > 0, 6.0, -6.0).astype(np.float32)
    foreground[labels == 2] = 0.1
    fused = Prediction(flows_from_labels(labels), foreground)
    every, confidence = instances(fused, Instances(flow_threshold=0))
    assert every.max() == 3
    kept, sure = instances(fused, Instances(min_confidence=0.8, flow_threshold=None))  # as runs before the choice
    assert kept.max() == 2
    assert (sure == confidence[confidence >= 0.8]).all()
    assert ((kept > 0) == (labels > 0) & (labels != 2)).all()


def test_crystals_whose_flow_is_another_shape_s_are_dropped():
    """Of three discs one has the flow of a disc beside it: its error is that of opposed vectors on half of it."""
    labels = discs((80, 120), [(20, 20, 12), (50, 60, 15), (20, 95, 12)])
    flow = flows_from_labels(labels)
    flow[:, labels == 2] = np.array([0.0, 1.0])[:, None]  # all to one side
    fused = Prediction(flow, np.where(labels > 0, 6.0, -6.0).astype(np.float32))
    errors = flow_errors(labels, flow)
    assert errors[[0, 2]] == pytest.approx([0, 0], abs=0.02)
    assert errors[1] == pytest.approx(2, abs=0.05)  # mean of |a - b|² = 2 - 2 cos over all directions
    kept, _ = instances(fused, Instances())
    assert set(np.unique(kept[labels == 2])) == {0}
    assert kept.max() == 2
    assert instances(fused, Instances(flow_threshold=3.0))[0][labels == 2].any()


def test_sima_plus_runs_the_network_asked_for(random_models):
    models = replace(random_models, hashes={name: name for name in random_models.networks})
    found = {n: segment(picture(200, 200), Settings(network=n), models) for n in JUDGES}
    for network, own in JUDGES.items():
        assert set(found[network].hashes) == {network, own}
        with_outlines = network != "cellpose"
        assert all((scale.outline is not None) == with_outlines for scale in found[network].scales)
    assert len({found[network].scales[0].flow.tobytes() for network in JUDGES}) == len(JUDGES)


def test_shipped_weights_load_and_say_what_they_are():
    models = load_models(device="cpu")
    assert set(models.hashes) == set(BUILD) - {"efficientnet", "efficientnet-confidence"}  # not shipped
    assert all(len(h) == 64 for h in models.hashes.values())
    assert models.levels_of("sima") == (100.0, 50.0, 25.0, 12.5)


def test_shipped_weights_find_drawn_particles():
    """Bright discs on dark ground: the easiest image there is must come out right."""
    circles = [(60, 70, 30), (150, 60, 22), (80, 190, 40), (190, 190, 25), (200, 110, 15)]
    labels = discs((256, 256), circles)
    noise = np.random.default_rng(0).normal(0, 6, labels.shape)
    pixels = np.clip(np.where(labels > 0, 190, 40) + noise, 0, 255).astype(np.uint8)
    found = segment(Micrograph(np.repeat(pixels[..., None], 3, 2), "discs", ""), Settings(), load_models(device="cpu"))
    from crystalseg.evaluation.metrics import panoptic_quality

    assert panoptic_quality(labels, found.labels) > 0.8


def test_proposals_are_judged_alike_in_any_batch(random_models, monkeypatch):
    labels = discs((300, 300), [(40 + 50 * (k // 5), 30 + 55 * (k % 5), 20) for k in range(25)])
    scale = ScalePrediction(
        1.0, flows_from_labels(labels), np.where(labels > 0, 4.0, -4.0).astype(np.float32), labels >= 0
    )
    candidates = propose([scale], 0.0, 15)
    pixels = picture(300, 300).pixels
    whole = judge(random_models["confidence"], candidates, [scale], pixels)[0]
    monkeypatch.setattr("crystalseg.segmentation.sima_plus.JUDGED", 4)
    parts = judge(random_models["confidence"], candidates, [scale], pixels)[0]
    assert len(whole) == 25
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_scales_that_come_later_change_nothing_but_what_they_say(random_models):
    """To the last bit what all scales at once give, whether it was asked in between or not."""
    labels = discs((300, 300), [(40 + 50 * (k // 5), 30 + 55 * (k % 5), 8 + k % 13) for k in range(25)])
    scales = []
    for factor in (0.5, 1.0, 2.0):
        size = [round(300 * factor)] * 2
        own = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
        foreground = np.where(own > 0, 4.0, -4.0).astype(np.float32)
        scales.append(ScalePrediction(factor, flows_from_labels(own), foreground, own >= 0))
    pixels, network = picture(300, 300).pixels, random_models["confidence"]
    choice = Instances(min_confidence=0.0)
    chooser = Chooser(network, pixels, choice)
    chooser.add(scales[:2])
    assert len(np.unique(chooser.chosen().origin)) > 0
    chooser.add(scales[2:])
    later, at_once = chooser.chosen(), choose(network, scales, pixels, choice)
    for name in ("labels", "confidence", "origin", "features"):
        np.testing.assert_array_equal(getattr(later, name), getattr(at_once, name))
    assert at_once.labels.max() >= 20


def test_the_same_image_gives_the_same_labels_to_the_last_bit(random_models):
    one, other = (segment(picture(300, 260), Settings(), random_models) for _ in range(2))
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.confidence, other.confidence)
    assert one.device.startswith("CPU, ")
    assert segment(picture(50, 60), Settings("watershed"), None).device == ""
    assert segment(picture(50, 60), Settings("cellpose-noresize"), random_models).device == "CPU, float32"


def test_where_memory_is_not_enough_smaller_batches_are_taken(random_models):
    pyramid = Pyramid(random_models, picture(64, 64).pixels)
    stack = np.random.default_rng(0).random((7, 3, 32, 32)).astype(np.float32)
    sizes = []

    def network(x):
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x * 2

    assert np.allclose(pyramid.run(network, stack, exact=True), 2 * stack)
    assert sizes == [7, 3, 1, 2, 4, 2, 2]
    assert pyramid.device_words(exact=True) == "CPU, float32"

    def never(x):
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(MemoryError):
        pyramid.run(never, stack)


def test_where_one_tile_is_too_much_for_the_gpu_the_cpu_takes_over_and_the_run_says_so(random_models, monkeypatch):
    there = replace(random_models, device=torch.device("cuda"))
    where = []
    monkeypatch.setattr(Pyramid, "_move", lambda self: where.append(self.device.type))
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: None)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA X")
    run = Pyramid._run

    def on_a_small_gpu(self, *rest):
        if self.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, *rest)

    monkeypatch.setattr(Pyramid, "_run", on_a_small_gpu)
    found = segment(picture(300, 260), Settings("sima"), there)
    assert found.device.endswith("because the memory of NVIDIA X, bfloat16 was not enough")
    assert found.device.startswith("CPU, ")
    assert where == ["cpu", "cuda"]  # and back for the next run
    assert np.array_equal(found.labels, segment(picture(300, 260), Settings("sima"), random_models).labels)
