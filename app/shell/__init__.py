"""Tiles on disk → answers on disk: what `marrowscope analyze` and `marrowscope prototypes` do."""
