import pytest
import torch

from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.weights import Card, WeightsError, file_hash, load_cellpose_file, load_weights, save_weights

CARD = Card("cellpose", "1", "synthetic", "none", "2026-01-01")


def test_round_trip_keeps_half_precision_matrices_and_full_precision_vectors(tmp_path):
    network = CPNet()
    network.downsample.down[0].proj[0].running_var.fill_(123456.0)  # would overflow at half precision
    save_weights(tmp_path / "w.safetensors", network.state_dict(), CARD)
    state, card = load_weights(tmp_path / "w.safetensors", "cellpose")
    assert card == CARD
    for key, value in network.state_dict().items():
        torch.testing.assert_close(state[key].float(), value.float(), rtol=1e-3 if value.ndim > 1 else 0, atol=1e-6)
    CPNet().load_state_dict(state, strict=True)
    assert (tmp_path / "w.safetensors").stat().st_size < 14e6


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(WeightsError, match="train"):
        load_weights(tmp_path / "none.safetensors", "cellpose")


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(2)}, CARD)
    with pytest.raises(WeightsError, match="'sima' is needed"):
        load_weights(tmp_path / "w.safetensors", "sima")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError):
        load_weights(tmp_path / "w.safetensors", "cellpose")


def test_cellposes_own_files_are_read_and_others_refused(tmp_path):
    network = CPNet(inputs=2)
    torch.save(network.state_dict(), tmp_path / "theirs")
    CPNet(inputs=2).load_state_dict(load_cellpose_file(tmp_path / "theirs"))
    torch.save({"x": torch.zeros(1)}, tmp_path / "other")
    (tmp_path / "text").write_text("no model")
    for name in ("other", "text", "missing"):
        with pytest.raises(WeightsError):
            load_cellpose_file(tmp_path / name)


def test_file_hash(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")  # FIPS 180-2, example B.1
    assert file_hash(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
