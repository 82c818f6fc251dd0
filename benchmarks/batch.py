"""A batch with one worker, with two, and on a cluster of two processes: the same images, one after another.

`python -m benchmarks.batch` prints images a second of each and the ratio to one worker. Workers load the networks
once; what is timed begins when they are asked for and ends with the last image on record.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from distributed import LocalCluster
from PIL import Image

from crystalseg.execution import batch_run
from crystalseg.execution.kinds import batch
from crystalseg.record.database import open_database
from crystalseg.record.profiles import Profile
from crystalseg.synthetic.sets import draw_random


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24, help="Number of images.")
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CRYSTALSEG_HOME"] = f"{folder}/home"
        images = Path(folder) / "images"
        images.mkdir()
        for k in range(count):
            Image.fromarray(draw_random(5, k).image).save(images / f"{k:03d}.png")
        engine = open_database()

        def took(name: str, **how) -> float:
            place = Path(folder) / name
            batch.prepare(place, images, Profile("default settings"))
            began = time.perf_counter()
            state = batch_run.run(place, engine, **how)
            assert state.done == count, state
            return time.perf_counter() - began

        one = took("one", workers=1)
        print(f"1 worker: {count / one:.3f} images a second", flush=True)
        two = took("two", workers=2)
        print(f"2 workers: {count / two:.3f} images a second, {one / two:.2f} times one worker", flush=True)
        threads = max(1, (os.cpu_count() or 1) // 2)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            far = took("far", scheduler=cluster.scheduler_address)
        print(f"cluster of 2: {count / far:.3f} images a second, {one / far:.2f} times one worker", flush=True)


if __name__ == "__main__":
    main()
