"""The errors that a user can put right; the command line prints each as one line."""

from __future__ import annotations


class TrainingError(Exception):
    """The base of all errors of the training that `python -m training` prints without a traceback."""


class ConfigError(TrainingError):
    """The configuration file is missing, is malformed, or has an unknown key."""


class DataError(TrainingError):
    """The input holds no tiles or no cells, cannot be read, or does not show what is to be measured on it."""


class LabelsError(TrainingError):
    """The labels cannot be read, do not belong to these tiles, or are too few."""


class CheckpointError(TrainingError):
    """The checkpoint is damaged, or an earlier version of the training wrote it."""


class DivergedError(TrainingError):
    """A loss became infinite or NaN."""


class ExportError(TrainingError):
    """The bundle cannot be written as asked; nothing was written, and a bundle that was there before stays."""
