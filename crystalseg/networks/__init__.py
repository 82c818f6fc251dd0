"""The networks: tensors in, tensors out. Files are the business of `weights`."""

from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[2] / "weights"  # the shipped weights
