"""Stain: optical density, Reinhard's normalisation, Macenko's stain vectors, unmixing, and the stain of a slide.

`unmix` is the stage that the rest of the pipeline calls. It normalises a tile (`normalise`), estimates its two stain
vectors (`macenko`), and renders haematoxylin alone; `histomicstk` is the reference engine for the same steps.
"""
