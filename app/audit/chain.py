"""One line of the log: JSON that names the SHA-256 of the line before. Knows no file.

Nobody who changes, removes or inserts a line can keep the chain whole, unless they write every later line anew; the
hash of the last line, kept elsewhere, shows that too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
"""What the first line of all names as the hash of the line before."""

ROTATED = "rotated"
"""Event of the first line of a file that goes on with another one."""


@dataclass(frozen=True, slots=True)
class Link:
    """What the next line has to know of the one before.

    Attributes:
        number: of the line, from 1; 0: there is none.
        sha256: of its bytes without the line's end; GENESIS: there is none.
        is_cut: it has no end: the power failed while it was written. It stays, and is part of the chain.
    """

    number: int = 0
    sha256: str = GENESIS
    is_cut: bool = False


def line_hash(line: bytes) -> str:
    """SHA-256 of a line without its end, hexadecimal."""
    return hashlib.sha256(line).hexdigest()


def encode(content: Mapping[str, Any], before: Link) -> bytes:
    """The line, with its end, that says `content` after the line `before`."""
    chain: dict[str, Any] = {"line": before.number + 1, "previous": before.sha256}
    if before.is_cut:
        chain["after_cut"] = True
    text = json.dumps({**chain, **content}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # What was sent need not be text that UTF-8 can hold.
    return text.encode(errors="backslashreplace") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The content of a line without its end; None where it is no line of an audit log."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if isinstance(found, dict) and isinstance(found.get("line"), int) and isinstance(found.get("previous"), str):
        return found
    return None


def last_link(tail: bytes) -> Link | None:
    """The link that the next line has to name.

    Args:
        tail: the end of a log, from the beginning of a line on; holds its last two lines, if there are two.

    Returns:
        None where the tail is not that of an audit log.
    """
    if not tail:
        return Link()
    *whole, rest = tail.split(b"\n")
    number = None
    for line in whole:
        content = decode(line)
        # A line that somebody has spoilt still counts: `verify` tells of it.
        number = content["line"] if content else None if number is None else number + 1
    if number is None:
        # Power may fail during the very first line.
        return Link(1, line_hash(rest), is_cut=True) if not whole and rest.startswith(b'{"line":') else None
    return Link(number + 1, line_hash(rest), is_cut=True) if rest else Link(number, line_hash(whole[-1]))
