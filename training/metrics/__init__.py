"""Scores of nuclei and of clusters, as pure functions."""
