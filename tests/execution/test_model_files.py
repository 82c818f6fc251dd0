import pytest
import torch

from crystalseg.execution.model_files import exchange, exported, imported
from crystalseg.networks.cellpose import CPNet
from crystalseg.networks.folded import FoldedCPNet
from crystalseg.networks.weights import Card, WeightsError, load_cellpose_file, save_weights
from crystalseg.record import models, store, validations
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, ModelError, register, scored
from crystalseg.segmentation.models import Models, with_taught
from crystalseg.segmentation.settings import Settings

SCORES = {"areas": 3, "pq": 0.8, "pq_before": 0.6, "others": 0.5, "others_before": 0.5, "errors": {"mean": [0.1, 0, 0]}}


@pytest.fixture
def made(tmp_path):
    engine = open_database()
    torch.manual_seed(0)
    file = tmp_path / "w.safetensors"
    save_weights(file, FoldedCPNet().state_dict(), Card("folded", "magnesia", "", "", "2026-01-01"))
    model = Model("magnesia", 0, "folded", "MgO", store.put_file(file), data=("a",), curve=({"step": 1},))
    return scored(engine, register(engine, model, "A. Kern"), SCORES)


def test_a_model_comes_to_another_machine_as_it_was(made, tmp_path, monkeypatch):
    data = exported(made)
    monkeypatch.setenv("CRYSTALSEG_HOME", str(tmp_path / "elsewhere"))
    engine = open_database()
    there = imported(engine, data, "magnesia.safetensors", who="B. Lang")
    assert there.weights == made.weights
    assert (there.reference, there.scores, there.data, there.who) == ("magnesia:1", made.scores, ("a",), "B. Lang")
    assert "magnesia:1 by A. Kern" in there.origin
    # its uncertainty comes with it
    assert validations.lookup(None, Settings(network=there.setting)).errors == {"mean": [0.1, 0, 0]}
    # once is enough; under another name it is another model
    assert imported(engine, data, "magnesia.safetensors").reference == "magnesia:1"
    assert imported(engine, data, "magnesia.safetensors", "spinel").reference == "spinel:1"


def test_machines_that_share_a_folder_have_the_same_models(made, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    with pytest.raises(ModelError, match="no folder"):
        exchange(open_database(), folder)
    folder.mkdir()
    first = exchange(open_database(), folder)
    assert (first.words, first.refused) == ("Given: magnesia:1.", [])
    assert exchange(open_database(), folder).words == "Nothing new on either side."
    home = store.home()
    monkeypatch.setenv("CRYSTALSEG_HOME", str(tmp_path / "elsewhere"))
    engine = open_database()
    # other weights of the same name are another version there
    torch.manual_seed(1)
    save_weights(tmp_path / "own", FoldedCPNet().state_dict(), Card("folded", "magnesia", "", "", "2026-01-01"))
    own = register(engine, Model("magnesia", 0, "folded", "MgO", store.put_file(tmp_path / "own")), "B. Lang")
    (folder / "notes.safetensors").write_bytes((tmp_path / "own").read_bytes())
    there = exchange(engine, folder, "B. Lang")
    assert there.words == "Taken: magnesia:2. Given: magnesia:1."
    assert there.taken[0].scores == made.scores
    assert there.refused == [
        "notes.safetensors is not an exported model. Export it on the Teach page or with `models export`."
    ]
    (folder / "notes.safetensors").write_bytes(exported(made)[:2000])  # it is being copied
    assert exchange(engine, folder).refused == ["notes.safetensors is not a safetensors file, or is damaged."]
    (folder / "notes.safetensors").write_bytes(b"")
    assert exchange(engine, folder).refused == ["notes.safetensors is not a Cellpose 2 or 3 model file (EOFError)."]
    (folder / "notes.safetensors").unlink()
    # what is seen of it later comes too, and it is not another version then
    scored(engine, own, SCORES, "B. Lang")
    assert exchange(engine, folder).words == "Given: magnesia:1."
    monkeypatch.setenv("CRYSTALSEG_HOME", str(home))
    back = exchange(open_database(), folder)
    assert {model.reference for model in back.taken} == {"magnesia:2"}
    assert [model.scores for model in models.models(open_database())] == [SCORES, SCORES]
    # what is retired is not given
    models.retire(open_database(), "magnesia:1")
    for file in folder.glob("magnesia*"):
        file.unlink()
    assert exchange(open_database(), folder).words == "Given: magnesia:2."


def test_the_same_weights_are_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    state = FoldedCPNet().state_dict()
    files = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for file in files:
        save_weights(file, state, Card("folded", "1", "", "", "2026-01-01"))
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_cellpose_model_file_is_kept_without_what_could_execute_code(tmp_path):
    torch.manual_seed(0)
    network = CPNet(2).eval()
    torch.save(network.state_dict(), tmp_path / "cyto")
    model = imported(open_database(), (tmp_path / "cyto").read_bytes(), "cyto", who="A. Kern")
    assert (model.reference, model.network, model.material) == ("cyto:1", "cellpose", "")
    assert store.get(model.weights)[8:9] == b"{"
    used = with_taught(Models({}, torch.device("cpu")), models.taught(open_database(), Settings(network=model.setting)))
    expected = load_cellpose_file(tmp_path / "cyto")
    for name, values in used["cellpose"].state_dict().items():
        assert torch.equal(values, expected[name])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not a Cellpose 2 or 3 model file"),
        (b"not a model at all", "is not a Cellpose 2 or 3 model file"),
        (b"\x20\0\0\0\0\0\0\0{broken", "not a safetensors file"),
    ],
)
def test_what_is_no_model_is_refused(data, words):
    with pytest.raises(WeightsError, match=words):
        imported(open_database(), data, "x.bin")
    assert not list(store.home().glob(".import-*"))


@pytest.mark.parametrize("network", ["folded", "cellpose", "efficientnet"])
@pytest.mark.parametrize("value", [torch.tensor(1.0), torch.zeros(3), torch.zeros(0)])
def test_weights_of_any_shape_are_refused_in_a_sentence(network, value, tmp_path):
    names = {"folded": FoldedCPNet, "cellpose": CPNet}.get(network, FoldedCPNet)().state_dict()
    file = tmp_path / "w.safetensors"
    save_weights(file, {name: value.clone() for name in names}, Card(network, "1", "", "", "2026-01-01"))
    wrong = exported(Model("odd", 1, network, "", store.put_file(file)))
    with pytest.raises(WeightsError, match="weights of another architecture"):
        imported(open_database(), wrong, "odd.safetensors")


def test_what_another_part_of_the_program_refuses_stops_no_exchange(made, tmp_path, monkeypatch):
    folder = tmp_path / "shared"
    folder.mkdir()
    exchange(open_database(), folder)
    monkeypatch.setenv("CRYSTALSEG_HOME", str(tmp_path / "elsewhere"))
    engine = open_database()
    validations.own().write_text("{")
    assert "validation.json is damaged" in exchange(engine, folder).refused[0]


def test_plain_weights_and_other_architectures_are_refused(made, tmp_path):
    plain = store.get(made.weights)
    with pytest.raises(ModelError, match="not an exported model"):
        imported(open_database(), plain, "folded.safetensors")
    other = tmp_path / "other.safetensors"
    save_weights(other, CPNet().state_dict(), Card("folded", "1", "", "", "2026-01-01"))
    from dataclasses import replace

    wrong = exported(replace(made, weights=store.put_file(other)))
    with pytest.raises(WeightsError, match="weights of another architecture than 'folded'"):
        imported(open_database(), wrong, "wrong.safetensors", "wrong")
    assert len(models.models(open_database())) == 1
