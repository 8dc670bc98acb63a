"""Standard output and standard error that write every text, whatever encoding the terminal or the system asks for."""

from __future__ import annotations

import codecs
import io
import sys

PLAIN = str.maketrans({"µ": "u", "μ": "u", "–": "-", "−": "-", "×": "x", "·": "-", "→": "->", "…": "...", "²": "2"})
"""What stands for the characters of our own messages where an encoding lacks them."""


def write_any_text() -> None:
    """Let stdout and stderr write what their encoding lacks in plain letters, or as an escape (`um` for µm).

    Python would raise UnicodeEncodeError instead: for µ on a Japanese Windows whose output goes to a file, for example,
    or for the name of a file that is not text. Answers are written as bytes, and are UTF-8 everywhere.
    """
    codecs.register_error("plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # it is None in a program without a console
            stream.reconfigure(errors="plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
