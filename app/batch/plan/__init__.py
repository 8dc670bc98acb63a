"""Decide what is analysed of a slide: its tissue, regions and tiles, its stain, and the patient it belongs to."""
