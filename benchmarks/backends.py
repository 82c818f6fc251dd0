"""FoldedCPNet by other programs on the CPU, against PyTorch, by turns in the same run, one core each.

    python -m pip install onnx onnxscript onnxruntime openvino
    python -m benchmarks.backends [--batch 8] [--side 224] [--rounds 7]

float32 everywhere, PyTorch also in bf16 where the processor computes in it; OpenVINO is told to use float32, or left to
choose. Also how far each one's maps are from those of PyTorch in float32, as a share of their standard deviation.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import openvino
import torch

from benchmarks.networks import seconds
from crystalseg.segmentation import load_models
from crystalseg.segmentation.precision import autocast
from crystalseg.synthetic.sets import draw_random

Run = Callable[[np.ndarray], np.ndarray]


def of_torch(network: torch.nn.Module, in_bf16: bool) -> Run:
    @torch.inference_mode()
    def run(tiles: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(tiles).to(memory_format=torch.channels_last)
        if not in_bf16:
            return network(x).numpy()
        with autocast(x.device):
            return network(x).float().numpy()

    return run


def of_onnx(network: torch.nn.Module, example: np.ndarray, folder: Path) -> Run:
    file = folder / "network.onnx"
    torch.onnx.export(network, (torch.from_numpy(example),), str(file), input_names=["tiles"], dynamo=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda tiles: session.run(None, {"tiles": tiles})[0]


def of_openvino(network: torch.nn.Module, example: np.ndarray, precision: str) -> Run:
    converted = openvino.convert_model(network, example_input=torch.from_numpy(example))
    facts = {"INFERENCE_NUM_THREADS": 1} | ({"INFERENCE_PRECISION_HINT": precision} if precision else {})
    compiled = openvino.Core().compile_model(converted, "CPU", facts)
    return lambda tiles: compiled(tiles)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_models(device="cpu")["folded"]
    drawn = (draw_random(9300, k).image for k in range(1000))
    large = (image for image in drawn if min(image.shape[:2]) >= options.side)
    crops = [next(large)[: options.side, : options.side] for _ in range(options.batch)]
    tiles = np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2), np.float32) / 255
    with TemporaryDirectory() as folder:
        programs = {
            "PyTorch, float32": of_torch(network, False),
            "PyTorch, bf16": of_torch(network, True),
            "ONNX Runtime, float32": of_onnx(network, tiles, Path(folder)),
            "OpenVINO, float32": of_openvino(network, tiles, "f32"),
            "OpenVINO, as it chooses": of_openvino(network, tiles, ""),
        }
        times: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(options.rounds + 1):
            for name, run in programs.items():
                times[name].append(seconds(lambda run=run: run(tiles)))
        exact = programs["PyTorch, float32"](tiles)
        for name, run in programs.items():
            median = float(np.median(times[name][1:]))
            off = float(np.abs(run(tiles) - exact).mean() / exact.std())
            ratio = float(np.median(times["PyTorch, float32"][1:])) / median
            print(f"{name:26} {median:.3f} s  {ratio:.2f} × as fast  off by {off:.1e}")


if __name__ == "__main__":
    main()
