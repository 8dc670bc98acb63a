"""Review: cells that people look at and name, and what is taught by their names."""
