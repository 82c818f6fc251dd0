"""A lesson that is killed at random moments, beside the same one left alone: both must give the same model.

    python -m benchmarks.kills [--kills 5] [--seed 0] [--steps 40]

Four drawn images are taught by `python -m crystalseg teach`, in records of their own, on one core. The process is
killed (SIGKILL) after a random share of what the undisturbed one took, again and again, and gone on with. Printed are
the moments, what was under way, whether weights and scores are equal, and what the audit of the record says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from crystalseg.execution import work_state
from crystalseg.execution.kinds import lesson
from crystalseg.micrographs.pairs import write_pair
from crystalseg.record import annotations
from crystalseg.record.database import open_database
from crystalseg.record.models import Model, models
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

NAME = "killed"


def begin(home: Path, images: Path, steps: int) -> Path:
    """The lesson, prepared in a record of its own; its folder."""
    os.environ["CRYSTALSEG_HOME"] = str(home)
    engine = open_database()
    folder = lesson.prepare(engine, NAME, NAME, annotations.from_folder(engine, images, NAME, ""))
    replace(lesson.load(folder), steps=steps, every=max(5, steps // 8)).save(folder)
    return folder


def go_on() -> subprocess.Popen:
    command = [sys.executable, "-m", "crystalseg", "teach", NAME, "--go-on"]
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def the_model() -> Model:
    (model,) = models(open_database())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "images"
        images.mkdir()
        for k in range(4):
            drawn = draw(2 * k + 1, (240, 280), Structure("powder", diameter=30, spread=0.3))
            write_pair(images, str(k), drawn.image, drawn.labels)
        begin(Path(place) / "alone", images, given.steps)
        start = time.monotonic()
        assert go_on().wait() == 0
        whole = time.monotonic() - start
        alone = the_model()
        print(f"left alone: {whole:.0f} s, {alone.verdict}", flush=True)
        folder = begin(Path(place) / "killed", images, given.steps)
        for _ in range(given.kills):
            process, wait = go_on(), whole * float(rng.uniform(0.03, 0.5))
            try:
                process.wait(wait)
                print("it had ended before the next kill")
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            state = work_state.state_of(folder)
            print(
                f"killed after {wait:.0f} s, at: {state.stage} ({100 * state.share:.0f} %); {state.status}",
                flush=True,
            )
        assert go_on().wait() == 0
        killed = the_model()
        audit = subprocess.run([sys.executable, "-m", "crystalseg", "audit"], capture_output=True, text=True)
        print(
            json.dumps(
                {
                    "same weights": alone.weights == killed.weights,
                    "same scores": alone.scores == killed.scores,
                    "audit": audit.stdout.strip() if audit.returncode == 0 else audit.stderr.strip(),
                },
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
