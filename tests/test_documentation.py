"""What the documents say is there, is there; what they show, runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import tifffile
import yaml

from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/deployment.md",
    "docs/guide.md",
    "docs/history/trials.md",
    "docs/performance.md",
    "docs/reliability.md",
    "docs/results.md",
    "weights/MODEL_CARD.md",
)


def places(text):
    """What a document names in backticks or links that looks like a file or folder of the project."""
    for name in re.findall(r"`([\w./-]+)`|\]\(([\w./-]+)\)", text):
        # results/ is what the experiments write
        yield from (n for n in name if re.search(r"/|\.(md|py|txt|json|toml)$", n) and not n.startswith("results/"))


DEPLOYMENT = ROOT / "docs" / "deployment"


def test_the_containers_run_without_root_on_a_read_only_root_and_tell_their_health():
    compose = yaml.safe_load((DEPLOYMENT / "compose.yaml").read_text())
    app = compose["services"]["crystalseg"]
    assert app["read_only"]
    assert app["cap_drop"] == ["ALL"]
    assert "ports" not in app  # only the proxy is reached from outside
    assert set(app["secrets"]) == set(compose["secrets"])
    assert (DEPLOYMENT / app["build"]["context"] / app["build"]["dockerfile"]).samefile(DEPLOYMENT / "Dockerfile")
    lines = (DEPLOYMENT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
    steps = dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
    assert steps["USER"] == "crystalseg"
    assert "_stcore/health" in steps["HEALTHCHECK"]
    command = json.loads(steps["CMD"])
    assert command[:2] == ["crystalseg", "app"]
    assert "--require-hashes -r requirements.lock" in " ".join(lines)
    assert f"/run/secrets/{app['secrets'][0]}" in command


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_proxys_configuration_is_valid(tmp_path):
    text = (DEPLOYMENT / "nginx.conf").read_text().replace("http://crystalseg:", "http://127.0.0.1:")
    (tmp_path / "certificates").mkdir()
    names = ["-out", "certificates/fullchain.pem", "-keyout", "certificates/privkey.pem", "-subj", "/CN=localhost"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", *names], cwd=tmp_path, check=True)
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\n{text}")
    done = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document):
    text = (ROOT / document).read_text()
    beside = (ROOT, ROOT / "crystalseg", (ROOT / document).parent, *(ROOT / "crystalseg").iterdir())
    for name in places(text):
        assert any((folder / name).exists() for folder in beside), name


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text()
    code = re.search(r"From Python:\n\n((?:    .*\n|\n)+)", text).group(1)
    tifffile.imwrite(tmp_path / "micrograph.tif", draw(8, (96, 110), Structure("powder", diameter=30)).image)
    monkeypatch.chdir(tmp_path)
    told = {}
    exec(re.sub(r"^    ", "", code, flags=re.MULTILINE), told)
    assert told["result"].summary.counted > 0
    assert told["segmentation"].settings == Settings()
    assert "Interval" in capsys.readouterr().out
