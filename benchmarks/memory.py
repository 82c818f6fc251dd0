"""Peak memory of one run on a large image, in a process of its own.

python -m benchmarks.memory [--side 4000]
"""

import argparse
import resource
import time

from crystalseg.micrographs.micrograph import Micrograph
from crystalseg.segmentation.models import load_models
from crystalseg.segmentation.pipeline import segment
from crystalseg.segmentation.settings import Settings
from crystalseg.synthetic.drawing import draw
from crystalseg.synthetic.structure import Structure

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000)
    side = parser.parse_args().side
    made = draw(3, (side, side), Structure("polycrystal", diameter=side / 40, spread=0.7))
    micrograph = Micrograph(made.image, "synthetic", "")
    del made
    start = time.perf_counter()
    found = segment(micrograph, Settings(), load_models(device="cpu"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{side} x {side} px: {found.labels.max()} crystals, peak {peak:.2f} GiB, {time.perf_counter() - start:.0f} s"
    )
