"""Read multipart forms: Starlette's parser, for what clients send beyond what it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from email.message import Message
from typing import Any

import starlette.requests
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser

MAX_PREAMBLE_BYTES = 4096
"""Largest text before the first part of a form."""


class FormParser(MultiPartParser):
    """A parser that takes a preamble (RFC 2046 §5.1.1), and a file's name in extended notation alone (RFC 5987).

    urllib3 before 1.25 and the Apache HttpClient send `filename*=UTF-8''…` for names that are not ASCII. Any part with
    a file name is a file. Its name is never a path: `batch_form.safe_names` makes the one that it gets on the disk.
    """

    # Nothing is written to a temporary file, so that the service needs no disk and a full disk does not break it. The
    # limits on bytes bound the memory instead. To SpooledTemporaryFile, 0 means no limit.
    spool_max_size = 0

    def __init__(self, headers: Headers, stream: AsyncGenerator[bytes, None], **limits: Any) -> None:
        _, parameters = parse_options_header(headers["Content-Type"])
        delimiter = b"--" + parameters.get(b"boundary", b"")
        super().__init__(headers, _from_first_part(stream, delimiter), **limits)

    def on_headers_finished(self) -> None:
        """Begin a part of the form; the parser calls this when the part's head has arrived."""
        disposition = self._current_part.content_disposition
        if disposition and b"filename" not in parse_options_header(disposition)[1]:
            name = _extended_name(disposition)
            if name is not None:
                quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode(self._charset, "replace")
                self._current_part.content_disposition = disposition + b'; filename="' + quoted + b'"'
        super().on_headers_finished()


def install_form_parser() -> None:
    """Let every `Request.form` use this parser. Neither FastAPI nor Starlette has an option for it."""
    starlette.requests.MultiPartParser = FormParser  # type: ignore[attr-defined]


async def _from_first_part(stream: AsyncGenerator[bytes, None], delimiter: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a body without its preamble.

    Args:
        stream: pieces of the body.
        delimiter: the line before each part. If it does not come within `MAX_PREAMBLE_BYTES`, the body is left as it
            is, and the parser refuses it.
    """
    head: bytes | None = b""
    async for piece in stream:
        if head is None:
            yield piece
            continue
        head += piece
        n_searched = MAX_PREAMBLE_BYTES + len(delimiter)
        start = (b"\r\n" + head[:n_searched]).find(b"\r\n" + delimiter)
        if start >= 0 or len(head) >= n_searched:
            yield head[max(start, 0) :]
            head = None
    if head:
        yield head


def _extended_name(disposition: bytes) -> str | None:
    """Return the file name that a header Content-Disposition has in extended notation, or None if it has none."""
    message = Message()
    message["Content-Disposition"] = disposition.decode("latin-1")
    try:
        return message.get_filename()
    except (TypeError, ValueError):  # The library fails on some malformed names.
        return None
