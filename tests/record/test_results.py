import numpy as np
import pytest

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.record.results import as_kept, load_segmentation, save_segmentation
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings


@pytest.mark.parametrize("settings", [Settings("sima"), Settings(network="folded")])
def test_what_is_kept_is_known_without_writing_it(tmp_path, random_models, settings):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
    segmentation = segment(Micrograph(pixels, "noise", ""), settings, random_models)
    save_segmentation(tmp_path / "s.npz", segmentation)
    kept, read = as_kept(segmentation), load_segmentation(tmp_path / "s.npz")
    np.testing.assert_array_equal(kept.labels, read.labels)
    for one, other in zip(kept.scales, read.scales, strict=True):
        np.testing.assert_array_equal(one.flow, other.flow)
        np.testing.assert_array_equal(one.foreground, other.foreground)
        assert one.flow.dtype == other.flow.dtype == np.float32
        assert (one.outline is None) == (settings.networks[0] == "cellpose")
        np.testing.assert_array_equal(one.outline, other.outline)
    assert read.settings == segmentation.settings
    assert (kept.scales[-1].flow != segmentation.scales[-1].flow).any()
