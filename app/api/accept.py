"""Which form of the answer a request wants, by `format` or by `Accept` (RFC 9110 §12.5.1)."""

from __future__ import annotations

import mimeparse
from starlette.exceptions import HTTPException

from app.answer.formats import FORMATS, FormatName

_LEAST_WANTED_FIRST: tuple[FormatName, ...] = ("overlay", "csv", "geojson", "json")
"""One for each media type; of those that a request wants equally, the last is given."""
_BY_TYPE = {FORMATS[name].media_type: name for name in _LEAST_WANTED_FIRST}
MAX_SHOWN = 80
"""Characters of the header that a problem repeats."""


def wanted_format(format: FormatName | None, accept: str | None) -> FormatName:
    """The form that was asked for; `format` goes before `Accept`, and JSON is the default.

    Raises:
        HTTPException: 406, nothing that is accepted can be given.
    """
    if format is not None:
        return format
    if not accept:
        return "json"
    try:
        # Media types are told apart without regard to case, which mimeparse leaves to its caller.
        best = mimeparse.best_match(_BY_TYPE, accept.lower())
    except mimeparse.MimeTypeParseException:
        best = ""
    if not best:
        known = ", ".join(reversed(_BY_TYPE))
        raise HTTPException(406, f"The answer can be {known}; found Accept: {accept[:MAX_SHOWN]}")
    return _BY_TYPE[best]
