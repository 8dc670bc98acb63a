"""The lines of the audit log as text: each is JSON and names the SHA-256 of the line before. This module reads no file.

Whoever changes, removes or inserts a line breaks the chain, unless they rewrite every later line. The hash of the last
line, kept elsewhere, reveals that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""The very first line names this as the hash of the line before."""

ROTATED = "rotated"
"""The event in the first line of a file that continues another file."""


@dataclass(frozen=True, slots=True)
class Link:
    """What the next line must know about the line before it.

    Attributes:
        number: the number of the line before, from 1; 0 means that there is none.
        sha256: the SHA-256 of its bytes without the line break; GENESIS means that there is no such line.
        is_cut: whether it has no line break, because the power failed while it was written. Such a line stays in the
            log and is part of the chain.
    """

    number: int = 0
    sha256: str = GENESIS
    is_cut: bool = False


def line_hash(line: bytes) -> str:
    """Return the SHA-256 of a line without its line break, in hexadecimal."""
    return hashlib.sha256(line).hexdigest()


def encode(content: Mapping[str, Any], before: Link) -> bytes:
    """Return a line of the log, with its line break.

    Args:
        content: the fields of the line.
        before: the line that it follows.
    """
    chain: dict[str, Any] = {"line": before.number + 1, "previous": before.sha256}
    if before.is_cut:
        chain["after_cut"] = True
    text = json.dumps({**chain, **content}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A client may send text that UTF-8 cannot represent.
    return text.encode(errors="backslashreplace") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """Return the fields of a line, or None if it is not a line of an audit log.

    Args:
        line: the line without its line break.
    """
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if isinstance(found, dict) and isinstance(found.get("line"), int) and isinstance(found.get("previous"), str):
        return found
    return None


def last_link(tail: bytes) -> Link | None:
    """Return the link to which the next line must be attached, or None if this is not the end of an audit log.

    Args:
        tail: the end of a log, starting at the beginning of a line, with its last two lines if it has two.
    """
    if not tail:
        return Link()
    *whole, rest = tail.split(b"\n")
    number = None
    for line in whole:
        content = decode(line)
        # A damaged line still counts as a line; `verify` reports it.
        number = content["line"] if content else None if number is None else number + 1
    if number is None:
        # The power may fail while the very first line is written.
        return Link(1, line_hash(rest), is_cut=True) if not whole and rest.startswith(b'{"line":') else None
    return Link(number + 1, line_hash(rest), is_cut=True) if rest else Link(number, line_hash(whole[-1]))
