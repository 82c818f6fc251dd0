"""The networks: tensors in, tensors out. Files are the business of `weights`."""

from crystalseg import ROOT

DIRECTORY = ROOT / "weights"  # the shipped weights
