"""Tables as CSV in which a spreadsheet finds no formula, whatever a file, a patient or a cluster is called."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""The beginning of a text that a spreadsheet takes for a formula, or that looks like such a text made harmless.

The last four are the wide forms of = + - @, which East Asian editions of spreadsheets take for the narrow ones.
"""


def csv_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> bytes:
    """Write a table as CSV (RFC 4180) in UTF-8: one header, then the rows.

    Args:
        columns: the names of the columns.
        rows: the fields of each row. None is an empty field. A number stays a number, below 0 too. A text that begins
            as a formula gets an apostrophe before it, and `plain_text` takes it away again.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    writer.writerows([_harmless(field) for field in row] for row in rows)
    # The name of a file may hold bytes that are not text.
    return buffer.getvalue().encode(errors="backslashreplace")


def plain_text(field: str) -> str:
    """Return the text of a field as it was before `csv_table` wrote it."""
    return field[1:] if field.startswith("'") and _FORMULA.match(field) else field


def _harmless(field: object) -> object:
    return f"'{field}" if isinstance(field, str) and _FORMULA.match(field) else field
