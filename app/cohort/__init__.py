"""The slides of a batch, and what belongs to each of them: its patient and its file of regions."""
