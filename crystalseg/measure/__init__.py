"""Labels to a table of crystals to distributions. Sees labels and a pixel size, never a network."""
