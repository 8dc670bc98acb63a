"""Measurements of every nucleus: its size and shape, its stains, its chromatin, its cytoplasm and its neighbours."""
