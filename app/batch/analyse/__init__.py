"""Find the cells of a slide, tile by tile, and count each of them once."""
