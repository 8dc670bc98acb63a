"""From proportions to the label of a tile, and how the tile compares with the reference tiles."""
