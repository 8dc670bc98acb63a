"""Bundle: a trained directory is loaded and tested, and people give names to its clusters."""
