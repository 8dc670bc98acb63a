"""The table of patients: a text file, made by hand or by a spreadsheet, with the patient of each slide."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.answer.csv_table import plain_text
from app.cohort.naming import Ambiguous, listed, shown_paths, slides_meant
from app.cohort.sources import SlideSource
from app.pipeline.errors import InvalidParameter

Columns = tuple[str, str]
"""The names of two columns: of what belongs to something, and of what it belongs to."""
COLUMNS: Columns = ("slide", "patient")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""Spreadsheets write semicolons where numbers have a comma, and tabs in "Unicode text"."""
SEPARATOR_LINE = "sep="
"""The beginning of a first line in which Excel says what separates the fields."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
MAX_BYTES = 16 * 1024**2
"""Enough for a hundred thousand slides; the table is held in memory."""
WORKBOOK = b"PK"
"""The beginning of an Excel file, which is a ZIP archive."""
ADVICE = "Write its path there, such as {}."


class PatientsError(InvalidParameter):
    """The table cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class PatientTable:
    """The content of a table of patients.

    Attributes:
        patients: the patient of each slide, by the name of the slide as the table has it.
        warnings: what may have been read wrongly, in sentences.
        columns: the columns that were read.
    """

    patients: dict[str, str]
    warnings: tuple[str, ...]
    columns: Columns = COLUMNS


def patients_of_slides(path: Path, slides: Sequence[SlideSource]) -> tuple[dict[str, str], list[str]]:
    """Find the patient of each slide in a table.

    Args:
        path: the table; see `read_patients`.
        slides: the slides, at least one.

    Returns:
        For the id of each slide that the table has, its patient; and warnings about names that belong to no slide,
        slides without a patient, and names that may have been read wrongly.

    Raises:
        PatientsError: the table cannot be used, or gives one slide to two patients.
        Ambiguous: the table has a name that several slides have.
    """
    table = read_patients(path)
    meant = slides_meant(list(table.patients), slides, path.name, ADVICE)
    shown = shown_paths(slides)
    for slide, names in meant.items():
        if len({table.patients[name] for name in names}) > 1:
            rows = ", ".join(f"'{name}' is of patient '{table.patients[name]}'" for name in names)
            raise Ambiguous(f"{path.name} gives {shown[slide]} to several patients: {rows}.")
    known = {name for names in meant.values() for name in names}
    unknown = [f"'{name}'" for name in table.patients if name not in known]
    without = [shown[slide] for slide, names in meant.items() if not names]
    warnings = list(table.warnings)
    if unknown:
        warnings.append(f"{path.name} names slides that this batch does not have: {listed(unknown)}.")
    if without:
        warnings.append(f"{path.name} has no patient for {listed(without)}.")
    return {slide: table.patients[names[0]] for slide, names in meant.items() if names}, warnings


def read_patients(path: Path, allowed: Sequence[Columns] = (COLUMNS,)) -> PatientTable:
    """Read the table.

    Args:
        path: a table as text with the columns `slide` and `patient`; other columns are ignored. Its fields are
            separated by commas, semicolons or tabs. It is in UTF-8, UTF-16 or, which a warning says, in Windows-1252. A
            table that `csv_table` wrote will do.
        allowed: the columns that it may have instead; the first of them that it has are read.

    Raises:
        PatientsError: the file cannot be read, is not such a table, or gives one slide to two patients.
    """
    text, warnings = _text(path)
    patients: dict[str, str] = {}
    lines, names, delimiter, columns = _header(text, path.name, allowed)
    for line, slide, patient in _rows(lines, names, delimiter, columns, path.name):
        if not slide or not patient:
            raise PatientsError(f"{path.name}, line {line}: {' and '.join(columns)} must both be given.")
        if patients.setdefault(slide, patient) != patient:
            raise PatientsError(
                f"{path.name}, line {line}: '{slide}' is of {columns[1]} '{patient}' here, and of '{patients[slide]}' "
                "above."
            )
    return PatientTable(patients, warnings, columns)


def _text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the text of a file, and warnings about how it was read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PatientsError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(raw) > MAX_BYTES:
        raise PatientsError(f"{path.name} has more than {MAX_BYTES} bytes, which is no table of patients.")
    if raw.startswith(WORKBOOK):
        raise PatientsError(f"{path.name} is a workbook of a spreadsheet; save its sheet as CSV.")
    try:
        if raw.startswith(UTF_16):
            return raw.decode("utf-16"), ()
        if b"\0" not in raw:
            return raw.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        pass
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        text = "\0"
    if raw.startswith(UTF_16) or "\0" in text:
        raise PatientsError(f"{path.name} is not text in UTF-8 or UTF-16; save the table as CSV in UTF-8.")
    odd = [line for line in text.splitlines() if not line.isascii()]
    return text, (
        f"{path.name} is not in UTF-8 and was read as Windows-1252. Compare its names, and save it as CSV in UTF-8 if "
        f"one is wrong: {listed(odd)}.",
    )


def _rows(
    lines: Iterator[tuple[int, list[str]]], names: list[str], delimiter: str, columns: Columns, file: str
) -> Iterator[tuple[int, str, str]]:
    """Yield line, slide and patient of each row below the header."""
    places = [names.index(name) for name in columns]
    try:
        for line, row in lines:
            if any(row[len(names) :]):
                raise PatientsError(
                    f"{file}, line {line} has {len(row)} fields, and the first line has {len(names)}: the fields are "
                    f"separated by {DELIMITERS[delimiter]}, so put a name that has one in quotation marks."
                )
            fields = [plain_text(field) for field in row] + [""] * len(names)
            slide, patient = (fields[place] for place in places)
            if slide or patient:
                yield line, slide, patient
    except csv.Error as error:
        raise PatientsError(f"{file} is not a table as CSV: {error}.") from error


def _header(
    text: str, file: str, allowed: Sequence[Columns]
) -> tuple[Iterator[tuple[int, list[str]]], list[str], str, Columns]:
    """Return the rows below the header, the names of all columns, what separates fields, and the columns to read."""
    for delimiter in DELIMITERS:
        lines = _lines(text, delimiter)
        with suppress(csv.Error):
            names = [name.casefold() for name in next(lines, (0, []))[1]]
            found = [columns for columns in allowed if set(columns) <= set(names)]
            if found:
                break
    else:
        first = text.strip().partition("\n")[0].strip()[:200]
        wanted = ", or ".join(" and ".join(columns) for columns in allowed)
        raise PatientsError(
            f"{file} must have the columns {wanted} in its first line, separated by commas, semicolons or "
            f"tabs; found {first or 'nothing'}."
        )
    for name in found[0]:
        if names.count(name) > 1:
            raise PatientsError(f"{file} has the column {name} several times.")
    return lines, names, delimiter, found[0]


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each row that is not empty; a field may contain line breaks."""
    # Without `strict`, a quotation mark that is not closed takes all rows below with it.
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    for row in reader:
        # macOS stores an accent as a character of its own, and a patient must not become two.
        fields = [unicodedata.normalize("NFC", field).strip() for field in row]
        if any(fields) and not (reader.line_num == 1 and fields[0].casefold().startswith(SEPARATOR_LINE)):
            yield reader.line_num, fields
