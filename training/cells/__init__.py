"""From tiles to cells: their crops and positions, the labels of the tiles, and the limits of the quality flags."""
