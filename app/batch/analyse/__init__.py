"""From the tiles of a slide to its cells, each counted once."""
