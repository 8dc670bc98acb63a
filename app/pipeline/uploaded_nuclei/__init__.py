"""Nuclei that come with a tile or a slide: read, and drawn at the analysed scale."""
