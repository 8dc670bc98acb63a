"""A segmenter that teaches itself: pseudo-labels, and the network that learns from them; it sees no annotation."""
