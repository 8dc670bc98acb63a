"""Nuclei: how they are found in a tile's haematoxylin, split where they touch, outlined, and cut by the border.

`segment` is the stage that the rest of the pipeline calls. It finds nuclei by many levels of density (`levels`, which
uses `run_lengths`, `objects` and `split`), by a network that has learned them (`network`), or by the paper's constant
threshold (`threshold`). Touching nuclei are divided by one `flood`, at many levels and in the network's maps.
"""
