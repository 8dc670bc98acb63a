"""Why the review refuses something. The texts are safe to show to a client."""

from app.pipeline.errors import PipelineError


class ReviewUnavailable(PipelineError):
    """The review cannot be used: its database cannot be reached, its disk is full, or a package is missing."""


class ReviewConflict(PipelineError):
    """What is asked does not fit what the review holds now; nothing was changed."""


class NotInReview(PipelineError):
    """There is no such tile or reviewer in the review."""
