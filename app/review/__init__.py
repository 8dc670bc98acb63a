"""Review: people name cells, and a classifier learns their types from the names."""
