"""Whether a tile is good enough to be analysed, and whether it is like the training tiles."""
