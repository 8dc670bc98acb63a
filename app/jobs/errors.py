"""What goes wrong with batches; every text is safe to show to a client."""

from __future__ import annotations

from app.pipeline.errors import PipelineError


class BatchError(PipelineError):
    """Base of all."""


class StoreUnavailable(BatchError):
    """The database cannot be reached."""


class BatchesUnavailable(BatchError):
    """The service was told to run batches, and cannot."""


class NotUnderRoot(BatchError):
    """A source is not what may be analysed."""
