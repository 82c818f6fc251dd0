"""The command line, in a process of its own as users call it; cheap verbs in this one."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pypdf import PdfReader

from crystalseg.cli.app import main
from crystalseg.cli.options import calibration_from, settings_from, text_in
from crystalseg.errors import UserError
from crystalseg.measurement.specification import Limit
from crystalseg.micrographs.pairs import read_pairs, write_pair
from crystalseg.record import ledger, store
from crystalseg.record.database import open_database
from crystalseg.record.instruments import Instrument
from crystalseg.record.instruments import save as save_instrument
from crystalseg.record.profiles import Profile, save
from crystalseg.record.validations import no_verdict
from crystalseg.segmentation.canonical import canonical
from crystalseg.segmentation.settings import Instances, Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure
from tests.conftest import discs

ROOT = Path(__file__).parents[2]
DRAWN = draw(8, (200, 220), Structure("powder", diameter=35))


def crystalseg(*arguments):
    command = [sys.executable, "-m", "crystalseg", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def here(*arguments):
    """The same in this process, which starts sooner."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["crystalseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    Image.fromarray(DRAWN.image).save(folder / "good.png")
    (folder / "text.png").write_text("I am no image")
    Image.new("RGB", (20, 300)).save(folder / "narrow.png")
    return folder


def test_segment_does_the_good_images_and_explains_the_bad_ones(images, tmp_path):
    out = tmp_path / "out"
    names = ("text.png", "good.png", "narrow.png", "missing.png")
    done = crystalseg("segment", *(images / n for n in names), "--out", out, "--um-per-px", 0.5, "--sample", "S7")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for name in ("text.png", "narrow.png", "missing.png"):
        assert sum(line.startswith(name) for line in done.stderr.splitlines()) == 1
    files = sorted(p.name for p in out.iterdir())
    assert files == ["good_crystals.csv", "good_labels.tif", "good_report.pdf", "good_run.json"]
    labels = tifffile.imread(out / "good_labels.tif")
    assert labels.shape == DRAWN.labels.shape
    table = (out / "good_crystals.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(table) == labels.max() + 1
    run = json.loads((out / "good_run.json").read_text())
    assert run["um_per_px"] == 0.5
    assert run["figures"]["found"] == labels.max()
    text = PdfReader(out / "good_report.pdf").pages[0].extract_text()
    assert "S7" in text
    assert run["id"] in text


def test_an_audit_finds_the_run_of_a_report_and_one_changed_byte(images, tmp_path):
    here("segment", images / "good.png", "--out", tmp_path)
    footer = PdfReader(tmp_path / "good_report.pdf").pages[0].extract_text()
    run_id = re.search(r"run ([0-9a-f]{12})", footer)[1]
    done = here("audit", run_id, "--segment")
    assert (done.returncode, done.stderr) == (0, "")
    assert run_id in done.stdout
    assert here("audit", "nothing").returncode == 2
    assert "approved by A. Kern" in here("approve", run_id, "--name", "A. Kern").stdout
    assert here("approve", "nothing", "--name", "A. Kern").returncode == 2
    report = here("audit", tmp_path / "good_report.pdf")
    assert f"This is the report of run {run_id}, issued" in report.stdout
    with (tmp_path / "good_report.pdf").open("ab") as file:
        file.write(b" ")
    report = here("audit", tmp_path / "good_report.pdf")
    assert report.returncode == 2
    assert report.stderr.startswith("No report on record is exactly this file. It was changed")
    labels = store.place(json.loads((tmp_path / "good_run.json").read_text())["files"]["labels"])
    data = bytearray(labels.read_bytes())
    data[len(data) // 2] ^= 1
    labels.write_bytes(data)
    done = here("audit")
    assert done.returncode == 1
    assert done.stderr.startswith(f"run {run_id}, labels:")
    assert len(done.stderr.splitlines()) == 1


def test_a_profile_gives_settings_limits_and_a_verdict(images, tmp_path):
    made = Profile(
        "p",
        "sand",
        settings=Settings("watershed"),
        limits=(Limit("mean", 1, 2),),
        decision_rule="guarded",
        sections=("verdict",),
    )
    (tmp_path / "p.json").write_text(made.to_json())
    assert "on record" in here("profile", tmp_path / "p.json").stdout
    done = here("segment", images / "good.png", "--out", tmp_path, "--profile", "p")
    assert "Verdict: not decidable. 1 µm ≤ mean diameter" in done.stdout
    assert "The limit is in µm, but the sizes are in px. Give the image's pixel size." in done.stdout
    run = json.loads((tmp_path / "good_run.json").read_text())
    assert (run["profile"], run["settings"]["method"]) == ("p", "watershed")
    assert run["verdicts"][0]["outcome"] == "not decidable"
    text = " ".join(page.extract_text() for page in PdfReader(tmp_path / "good_report.pdf").pages)
    assert "Verdict: NOT DECIDABLE" in text
    assert "Uncertainty budget" not in text
    wrong = here("segment", images / "good.png", "--out", tmp_path, "--profile", "q")
    assert (wrong.returncode, wrong.stderr.strip()) == (2, "There is no profile 'q'. Profiles on record: p.")
    assert here("segment", images / "good.png", "--out", tmp_path, "--profile", "p", "--method", "sima").returncode


def test_a_profile_validated_can_be_judged(tmp_path):
    strict = Settings("watershed", instances=Instances(min_area=40))
    made = Profile(
        "p",
        "sand",
        kind="discs",
        settings=strict,
        limits=(Limit("mean", None, 200, unit="px"),),  # no lower one: U of so few crystals is more than their mean
        decision_rule="guarded",
    )
    save(open_database(), made)
    for k in range(3):
        labels = discs((120, 160), [(30, 40, 18), (30, 110, 25 - k), (85, 60, 22), (85, 120, 12 + k)])
        write_pair(tmp_path, str(k), np.where(labels > 0, 200, 30).astype(np.uint8), labels)
    assert "--kind NAME" in here("validate", tmp_path, "--method", "watershed").stderr
    segment = ("segment", tmp_path / "0.png", "--out", tmp_path / "out", "--profile", "p")
    said = here("validate", tmp_path, "--kind", "discs", "--method", "watershed").stdout
    assert "watershed on 3 images of discs: saved to" in said
    assert "was validated with other thresholds (h 0, from 15 px²" in no_verdict(made)
    assert "Verdict: not decidable. " in here(*segment).stdout
    assert here("validate", tmp_path, "--profile", "p").returncode == 0
    assert no_verdict(made) == ""
    assert "Verdict: pass." in here(*segment).stdout
    kept = [canonical(entry.body["conditions"]) for entry in ledger.entries(open_database(), "validation")]
    assert kept == [Settings("watershed").conditions.key, strict.conditions.key]


def test_a_method_is_named_with_network_and_effort_as_reports_name_it(tmp_path):
    (tmp_path / "s.json").write_text(Settings(network="cellpose", effort="quick").to_json())
    assert settings_from(None, "sima-plus@cellpose/quick") == Settings(network="cellpose", effort="quick")
    assert settings_from(tmp_path / "s.json", "sima-plus/balanced") == Settings(network="cellpose", effort="balanced")
    assert settings_from(tmp_path / "s.json", "sima").network == "cellpose"


def test_evaluate_writes_the_figures(tmp_path):
    folder = tmp_path / "set"
    assert here("synth", folder, "--count", 1, "--seed", 3).returncode == 0
    done = here("evaluate", folder, "--method", "cellpose-multiscale", "--json", tmp_path / "f.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "f.json").read_text())
    assert list(figures["images"]) == ["3_0000"]
    assert {"pq", "aji", "cldice", "ap", "merges", "splits", "ks", "mre_acs"} < set(figures["mean"])
    assert 0 <= figures["mean"]["pq"] <= 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "/nowhere"),
        ("synth", "{tmp}", "--flat", "--grains"),
        ("segment", "x.png", "--out", "{tmp}", "--settings", "/nowhere.json"),
        ("segment", "x.png", "--out", "{tmp}", "--um-per-px", "-1"),
        ("segment", "x.png", "--out", "{tmp}", "--paper", "A5"),
        ("segment", "x.png", "--out", "{tmp}", "--weights", "/nowhere"),
        ("train", "size", "--recipe", '{"x": 1}'),
        ("segment", "x.png", "--out", "{tmp}", "--method", "magic"),
        ("segment", "x.png", "--out", "{tmp}", "--only-by", "/nowhere"),
        ("segment", "x.png", "--out", "{tmp}", "--only", "nice ones", "--only-by", "/nowhere"),
        ("segment", "x.png", "--out", "{tmp}", "--flow-model", "/nowhere"),
        ("experiment", "table2", "--data", "/nowhere", "--out", "{tmp}"),
        ("experiment", "table3", "--data", "/nowhere", "--out", "{tmp}", "--methods", "magic"),
    ],
    ids=str,
)
def test_wrong_use_is_a_sentence_and_exit_code_2(arguments, tmp_path):
    done = here(*(a.format(tmp=tmp_path) if "{tmp}" in a else a for a in arguments))
    assert done.returncode == 2
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_experiment_on_a_folder_of_ones_own(tmp_path):
    folder = tmp_path / "set"
    assert here("synth", folder, "--count", 1, "--seed", 6).returncode == 0
    arguments = ("experiment", "table3", "--data", folder, "--out", tmp_path / "out", "--methods", "watershed")
    done = crystalseg(*arguments)
    assert done.returncode == 0, done.stderr
    assert "watershed" in done.stdout
    assert (tmp_path / "out" / "table3.csv").exists()
    assert here(*arguments).stdout == done.stdout


@pytest.mark.parametrize("kind", [(), ("--flat",)])
def test_synth_is_reproducible(tmp_path, kind):
    for name in ("a", "b"):
        assert here("synth", tmp_path / name, "--count", 2, "--seed", 5, *kind).returncode == 0
    for (m, labels), (same, same_labels) in zip(read_pairs(tmp_path / "a"), read_pairs(tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(m.pixels, same.pixels)
        np.testing.assert_array_equal(labels, same_labels)


def test_a_file_that_is_no_text_is_refused_in_a_sentence(images, tmp_path):
    with pytest.raises(UserError, match="is not a text file"):
        text_in(images / "good.png")
    with pytest.raises(UserError, match="cannot be opened"):
        text_in(tmp_path / "nothing.json")
    (tmp_path / "mark.json").write_bytes(b"\xef\xbb\xbf{}")  # as Notepad saves it
    assert text_in(tmp_path / "mark.json") == "{}"


def test_a_calibration_on_record_is_used_by_name(images, tmp_path):
    save_instrument(open_database(), Instrument("SEM 2", 0.25, 0.004, "2026-01-31"))
    done = here("segment", images / "good.png", "--out", tmp_path, "--method", "watershed", "--calibration", "SEM 2")
    assert done.returncode == 0
    run = json.loads((tmp_path / "good_run.json").read_text())
    assert (run["um_per_px"], run["calibration_uncertainty"]) == (0.25, 0.004)
    for given, words in (
        ((None, None, "SEM 3"), "There is no calibration 'SEM 3'. Calibrations on record: SEM 2."),
        ((1.0, None, "SEM 2"), "not both"),
        ((None, 1.0, ""), "Give both"),
    ):
        with pytest.raises(UserError, match=words):
            calibration_from(open_database(), *given)
    assert calibration_from(open_database(), 0.5, 0.4, "").uncertainty == pytest.approx(0.004)
