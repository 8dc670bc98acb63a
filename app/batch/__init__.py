"""Whole slides and cohorts: what `marrowscope batch` does. Needs the optional packages of the extra `batch`."""
