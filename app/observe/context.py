"""Which request is being answered, for whatever is logged meanwhile."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""None outside requests and on the worker threads."""
