"""From tiles to cells: crops, their positions, labels of tiles, and the quality reference."""
