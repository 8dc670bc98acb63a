"""Which form of the answer a request wants, by `format` or by `Accept` (RFC 9110 §12.5.1)."""

from __future__ import annotations

import mimeparse
from starlette.exceptions import HTTPException

from app.api.formats import FORMATS, FormatName

# The last one is what `*/*` gets.
_BY_TYPE: dict[str, FormatName] = {
    FORMATS[name].media_type: name for name in ("overlay", "csv", "geojson", "json") if name in FORMATS
}


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
        best = mimeparse.best_match(_BY_TYPE, accept)
    except mimeparse.MimeTypeParseException:
        best = ""
    if not best:
        known = ", ".join(reversed(_BY_TYPE))
        raise HTTPException(406, f"The answer can be {known}; found Accept: {accept[:80]}")
    return _BY_TYPE[best]
