"""Training: data sets, augmentation, one short loop, and a file per network."""
