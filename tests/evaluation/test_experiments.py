"""The experiments: tables against hand-worked rows; a run with networks of random weights resumes and shares."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import wilcoxon

from crystalseg.errors import UserError
from crystalseg.evaluation import tables
from crystalseg.evaluation.benchmark import folds
from crystalseg.evaluation.experiments import (
    COMPARED,
    SharedPyramid,
    _weights,
    conduct,
    contenders,
    run,
    table1_contenders,
)
from crystalseg.evaluation.tables import crossval, figure4, markdown, octave_table, table3
from crystalseg.micrographs.pairs import read_pairs, write_pair
from crystalseg.segmentation.methods import NAMED
from crystalseg.segmentation.pyramid import Pyramid
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.segmentation import hub_models


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    for i in range(2):
        made = draw(2 * i + 1, (90, 110), Structure("powder", diameter=25))
        write_pair(place, f"{i}", made.image, made.labels)
    return place


def test_all_methods_are_compared():
    assert set(COMPARED) == set(NAMED) - {"cellpose-maximum"}
    ladders = [c.settings.ladder((1000, 1000)) for c in table1_contenders()]
    assert ladders[::2] == ladders[1::2] == [(0.224, 1.0), (0.224, 0.5, 1.0), (0.224, 0.5, 0.75, 1.0)]


def test_a_run_goes_on_where_it_stopped(folder, tmp_path, random_models):
    wanted = contenders(["sima", "watershed"])
    lines = []
    first = run(folder, wanted[:1], random_models, tmp_path / "out", lines.append)
    assert len(lines) == len(first) == 2
    both = run(folder, wanted, random_models, tmp_path / "out", lines.append)
    assert len(lines) == len(both) == 4  # only the new method was computed
    pd.testing.assert_series_equal(first["pq"], both[both["contender"] == "sima"]["pq"], check_index=False)


def test_shared_predictions_change_nothing(folder, tmp_path, random_models, monkeypatch):
    wanted = contenders(["cellpose-multiscale", "cellpose-noresize", "sima-plus", "cellpose-original"])
    shared = run(folder, wanted, random_models, tmp_path / "a")
    monkeypatch.setattr("crystalseg.evaluation.experiments.SharedPyramid", Pyramid)
    alone = run(folder, wanted, random_models, tmp_path / "b")
    pd.testing.assert_frame_equal(shared, alone)


def test_each_scale_is_predicted_once(random_models):
    view = SharedPyramid(random_models, np.zeros((60, 60, 3), np.uint8))
    assert view.flow("cellpose", 0.5) is view.flow("cellpose", 0.5)


def test_what_is_enlarged_is_not_shared_because_it_is_not_everything(random_models):
    view = SharedPyramid(random_models, np.zeros((300, 300, 3), np.uint8))
    corners = view.grid(2.0).corners
    assert view.flow("cellpose", 2.0, corners[:1]).covered[:100, :100].all()
    assert not view.flow("cellpose", 2.0, corners[-1:]).covered[:100, :100].any()


def test_every_experiment_writes_its_tables(folder, tmp_path, random_models):
    names = ["sima-plus", "cellpose-noresize", "watershed"]
    for name in ("table1", "table2", "table3", "figure4", "crossval", "differences"):
        text = conduct(name, folder, names, random_models, tmp_path / "out", lambda _: None)
        assert (tmp_path / "out" / f"{name}.md").read_text().strip() == text.strip()
        assert (tmp_path / "out" / f"{name}.csv").exists()
    assert (tmp_path / "out" / "figure4.svg").read_text().count("<svg") == 1
    assert (tmp_path / "out" / "table2_octaves.csv").exists()


def test_reliability_of_what_is_found(folder, tmp_path, random_models, monkeypatch):
    nothing = SimpleNamespace(labels=np.zeros((90, 110), np.int32), confidence=np.zeros(0))
    monkeypatch.setattr("crystalseg.evaluation.experiments.segment", lambda *_: nothing)
    with pytest.raises(UserError, match="no crystal was found"):
        conduct("reliability", folder, [], random_models, tmp_path, lambda _: None)

    def perfect(micrograph, settings, models):
        """The true crystals, all right, at a confidence of 0.9."""
        truth = next(labels for m, labels in read_pairs(folder) if m.name == micrograph.name)
        return SimpleNamespace(labels=truth, confidence=np.full(truth.max(), 0.9))

    monkeypatch.setattr("crystalseg.evaluation.experiments.segment", perfect)
    text = conduct("reliability", folder, [], random_models, tmp_path, lambda _: None)
    assert "calibration error: 0.100" in text
    assert (tmp_path / "reliability.svg").read_text().count("<svg") == 1


def made_up(values, **columns):
    """Rows of made-up scores: {contender: [PQ of each image]}."""
    sizes = {"acs_true_px": 10.0, "acs_predicted_px": 9.0, "mae_acs_px": 1.0}
    rows = [
        {"image": f"{i:02d}", "class": 1 + i % 3, "contender": name, "pq": pq, "mre_acs": 1 - pq, "cldice": i / 99}
        | sizes
        for name, pqs in values.items()
        for i, pq in enumerate(pqs)
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_clicks_by_hand():
    """Three images: one never reaches PQ 0.9, one is there at once."""
    rows = pd.DataFrame(
        {
            "pq": [0.5, 0.6, 0.95],
            "clicks_85": [10, 20, 0],
            "clicks_85_in_100": [50, 40, 0],
            "clicks_90": [30, np.nan, 0],
            "clicks_90_in_100": [150, np.nan, 0],
        }
    )
    crystals = pd.DataFrame({"length": [9.0, 15.9, 16.0, 40.0], "clicks_without": [1, 1, 1, 9]})
    table = tables.clicks_table(rows, crystals).set_index("figure")
    assert table.loc["PQ before", "value"] == "0.683"
    assert table["value"].tolist()[1:5] == ["10", "40", "30", "150"]
    assert table.loc["clicks to PQ 0.90", "reached by"] == "2 of 3 images"
    assert table.loc["clicks to one crystal of IoU 0.85, by flow or outline", "value"] == "3.0"
    assert table.loc["crystals that one such click gets", "value"] == "75 %"
    rows.loc[0, "clicks_90"] = np.nan
    with_network = crystals.assign(noc_85=[1, 2, 1, 20], noc_90=[1, 3, 2, 20], iou_1=[0.9, 0.8, 0.9, 0.2])
    table = tables.clicks_table(rows, with_network).set_index("figure")
    assert table.loc["clicks to PQ 0.90", "value"] == "not reached"
    lines = [f"clicks to one crystal of IoU {goal} by ClickNet" for goal in (0.85, 0.9)]
    assert table.loc[lines, "value"].tolist() == ["6.0", "6.5"]
    assert table.loc[lines, "reached by"].tolist() == ["3 of 4 crystals"] * 2
    assert table.loc["crystals that one click of ClickNet gets", "value"] == "50 %"
    octaves = tables.clicks_by_octave(with_network)
    assert octaves["length, px"].tolist() == ["8 to 16", "16 to 32", "32 to 64"]
    assert octaves["crystals"].tolist() == [2, 1, 1]
    assert octaves["noc_90"].tolist() == [2, 2, 20]


def test_by_class_by_hand():
    table = table3(made_up({"a": [0.2, 0.5, 0.9, 0.4, 0.7, 0.9]}))
    assert table["PQ, %"].tolist() == ["30.0 ± 10.0", "60.0 ± 10.0", "90.0 ± 0.0"]
    assert table["class"].tolist() == [f"{c} (2 images)" for c in (1, 2, 3)]


def test_differences_by_hand():
    rng = np.random.default_rng(3)
    better = rng.normal(0.05, 0.1, 40)
    rows = made_up({"a": [0.5] * 40, "b": (0.5 + better).tolist(), "c": [0.6] * 40})
    table = tables.differences(rows.sample(frac=1, random_state=0).sort_values("contender"), "a").set_index("method")
    assert table.loc["a", "PQ, % more"] == ""
    assert table.loc["c", "PQ, % more"] == "+10.0"  # everywhere the same
    mean, low, high = (float(w) for w in re.findall(r"[-+][\d.]+", table.loc["b", "PQ, % more"]))
    assert mean == pytest.approx(100 * better.mean(), abs=0.06)
    # many values: the percentile interval is near the one by the normal distribution
    half = 196 * better.std(ddof=1) / 40**0.5
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.15 * half)


def test_sima_plus_can_be_compared_on_both_networks():
    both = contenders(["sima-plus@folded", "sima-plus@cellpose", "sima"])
    assert [c.settings.network for c in both[:2]] == ["folded", "cellpose"]
    assert {c.name for c in both} == {"sima-plus@folded", "sima-plus@cellpose", "sima"}
    with pytest.raises(UserError, match="resnet"):
        contenders(["sima-plus@resnet"])


def test_octaves_by_hand():
    rows = made_up({"a": [0.5, 0.5]}, octaves=["3:0.8,1,1,0;5:0,0,0,2", "3:1.4,2,0,1"])
    table = octave_table(rows)
    assert table["diameter, px"].tolist() == ["8–16", "32–64"]
    assert table["crystals"].tolist() == [4, 2]
    assert table["a"].tolist() == ["55.0", "0.0"]  # 2.2 / (3 + 1/2 + 1/2)


def test_ranks_by_hand():
    table = figure4(made_up({"a": [0.1, 0.3, 0.6]}))
    assert table["PQ against MRE ACS"].tolist() == ["-1.00"]
    assert table["clDice against MRE ACS"].tolist() == ["-1.00"]


def test_crossval_tests_folds_against_the_reference():
    rng = np.random.default_rng(0)
    good = rng.uniform(0.6, 0.9, 60)
    rows = made_up({"ours": good, "worse": good - rng.uniform(0.05, 0.1, 60), "same": good})
    table = crossval(rows, "ours").set_index("method")
    folds_of = folds(rows[rows["contender"] == "ours"]["class"].to_numpy())
    means = {name: rows[rows["contender"] == name].groupby(folds_of)["pq"].mean() for name in ("ours", "worse")}
    p = 2 * wilcoxon(means["worse"] - means["ours"]).pvalue
    assert table.loc["worse", "p of PQ"] == f"{p:.3f}"
    assert p < 0.01
    assert table.loc["same", "p of PQ"] == "1.000"
    assert table.loc["ours", "p of PQ"] == ""


def test_markdown_by_hand():
    assert markdown(pd.DataFrame({"a": [1], "b": ["x"]})) == "| a | b |\n| --- | --- |\n| 1 | x |"


def test_a_model_by_its_path_is_computed_again_once_its_file_has_changed(random_models, tmp_path):
    (contender,) = contenders([f"hub:{tmp_path}"])
    seen = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        hub_models.network(tmp_path)
        seen.append(_weights(contender, random_models))
    assert seen[0] != seen[1]
    assert all(words.startswith("U-Net or the like") for words in seen)
