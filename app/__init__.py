"""Marrowscope: cells, clusters, proportions and label of a bone-marrow tile."""

__version__ = "0.1.0"
