"""How good a segmentation is, against labels."""
