"""Errors of the method, with one base class."""


class PipelineError(Exception):
    """Base of every error that the method raises on purpose; its text is safe to show to a client."""


class UnreadableTile(PipelineError):
    """The bytes are not a PNG, JPEG or TIFF image that can be decoded."""


class UnsupportedTile(PipelineError):
    """The image is readable, but its pixel format or shape is not one that can be analysed."""


class UnequalAxes(UnsupportedTile):
    """The file says that its pixels are not square."""


class TileTooLarge(PipelineError):
    """The image has more pixels than allowed."""


class InvalidNuclei(PipelineError):
    """The nuclei that were uploaded cannot be used."""


class TooManyNuclei(PipelineError):
    """The nuclei that were uploaded are too many, or their outlines too large."""


class InvalidCorrections(PipelineError):
    """The types that a person has given to cells cannot be used."""


class OtherCells(InvalidCorrections):
    """The types were given to the cells of an answer that this bundle would not give about this tile now."""


class InvalidParameter(PipelineError):
    """A parameter of the analysis is outside its range."""


class UnknownCluster(PipelineError):
    """The bundle has no such cluster."""


class UnsuitableTiles(PipelineError):
    """The tiles do not show what is to be measured on them, or are too few."""


class InvalidBundle(PipelineError):
    """The bundle directory is incomplete, altered, or does not reproduce its golden pair."""


class EngineUnavailable(PipelineError):
    """The bundle asks for an optional engine that is not installed."""
