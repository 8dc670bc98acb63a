"""Quality: what is measured on a tile, whether it is good enough, and whether it is like the training tiles."""
