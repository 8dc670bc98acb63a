"""Colour: optical density, Reinhard normalisation, Macenko unmixing, and the stain of a whole slide."""
