"""Label: how the proportions of a tile become its label, and how the tile compares with reference tiles."""
