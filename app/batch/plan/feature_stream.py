"""The features of a GeoJSON file, one after the other, so that a file may be larger than the memory."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from app.batch.read.slide import SlideError

CHUNK = 1 << 20
"""Characters that are read at a time; of a larger feature, twice as many as before."""
MAX_FEATURE = 256 * 1024**2
"""Largest number of characters of one feature, or of the members before the features."""
SPACE = " \t\r\n"
DECODER = json.JSONDecoder()


class FeatureStream:
    """Reads a FeatureCollection, a list of features, or one feature.

    Args:
        file: the text of the file.

    Attributes:
        members: the members of the collection that were read so far, besides its features.
    """

    def __init__(self, file: TextIO) -> None:
        self.members: dict[str, Any] = {}
        self._file = file
        self._text, self._at = "", 0

    def features(self) -> Iterator[Any]:
        """Yield each feature as Python's values.

        Raises:
            ValueError, RecursionError: the text is not JSON, or nested too deep.
            SlideError: a feature is too large.
        """
        yield from self._array() if self._next() == "[" else self._object()
        if self._next():
            raise ValueError("something follows its end, as in a file with a feature in each line")

    def _object(self) -> Iterator[Any]:
        """Yield the features of a collection, or the object itself if it is none."""
        is_collection = False
        self._take("{")
        while self._next() != "}":
            key = self._value()
            self._take(":")
            if key == "features":
                is_collection = True
                yield from self._array()
            else:
                self.members[str(key)] = self._value()
            if self._next() != "}":
                self._take(",")
        self._take("}")
        if not is_collection:
            yield self.members

    def _array(self) -> Iterator[Any]:
        self._take("[")
        while self._next() != "]":
            yield self._value()
            if self._next() != "]":
                self._take(",")
        self._take("]")

    def _next(self) -> str:
        """Return the next character that is no white space, without taking it; nothing at the end of the file."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise ValueError(f"{wanted} is missing")
        self._at += 1

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._fill():
                    raise
                continue
            if end < len(self._text) or not self._fill():  # a number could go on after what was read
                self._at = end
                return value

    def _fill(self) -> bool:
        """Read more of the file; return whether there was more."""
        rest = self._text[self._at :]
        if len(rest) > MAX_FEATURE:
            raise SlideError(f"a feature has more than {MAX_FEATURE} characters; divide it into several.")
        more = self._file.read(max(CHUNK, len(rest)))
        if more:
            self._text, self._at = rest + more, 0
        return bool(more)


@contextmanager
def feature_stream(path: Path) -> Iterator[FeatureStream]:
    """Open a GeoJSON file, gzipped or not, to read its features in the block.

    Raises:
        SlideError: the file cannot be read, or is not GeoJSON.
    """
    try:
        with path.open("rb") as file:
            is_gzipped = file.peek(2)[:2] == b"\x1f\x8b"
            raw = gzip.GzipFile(fileobj=file) if is_gzipped else file
            yield FeatureStream(io.TextIOWrapper(raw, encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SlideError(f"{path.name} is not GeoJSON, which is text in UTF-8.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SlideError(f"{path.name} is damaged or truncated and cannot be unpacked.") from error
    except (ValueError, TypeError, RecursionError) as error:
        # Where a decoder failed is told from the text that was read last, which means nothing to a user.
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise SlideError(f"{path.name} is not GeoJSON: {reason}.") from error
    except OSError as error:
        raise SlideError(f"The nuclei in {path.name} cannot be read: {error.strerror or error}.") from error
