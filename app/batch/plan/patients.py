"""The table of patients: a CSV file, made by hand, that says which slide belongs to which patient."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from app.answer.csv_table import plain_text

COLUMNS = ("slide", "patient")


class PatientsError(ValueError):
    """The table cannot be used; the text says why."""


def read_patients(path: Path) -> dict[str, str]:
    """Read the table.

    Args:
        path: a CSV file in UTF-8 with the columns `slide` and `patient`; other columns are ignored. A slide is named by
            its id in the batch, or by its file name with or without the ending. A table that `csv_table` wrote will do.

    Returns:
        The patient of each slide, by the name of the slide as the table has it.

    Raises:
        PatientsError: the file cannot be read, is not such a table, or gives one slide to two patients.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PatientsError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise PatientsError(f"{path.name} must be a table (CSV) in UTF-8.") from error
    # A field may contain line breaks.
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise PatientsError(
            f"{path.name} must have the columns slide and patient in its first line, separated by commas; "
            f"it has no {' and no '.join(missing)}, found {', '.join(found) or 'nothing'}."
        )
    reader.fieldnames = found
    patients: dict[str, str] = {}
    for row in reader:
        slide, patient = (plain_text((row[name] or "").strip()) for name in COLUMNS)
        if not slide and not patient:
            continue
        if not slide or not patient:
            raise PatientsError(f"{path.name}, line {reader.line_num}: slide and patient must both be given.")
        if patients.setdefault(slide, patient) != patient:
            raise PatientsError(
                f"{path.name}, line {reader.line_num}: '{slide}' is of patient '{patient}' here, "
                f"and of '{patients[slide]}' above."
            )
    return patients


def patient_of(patients: Mapping[str, str], slide: str, file: str) -> str | None:
    """Return the patient of a slide; None if the table does not have the slide.

    Args:
        patients: the result of `read_patients`.
        slide: the id of the slide in the batch, which is looked up first.
        file: the name of its file, which is looked up next, and then without its ending.
    """
    return next((patients[name] for name in (slide, file, Path(file).stem) if name in patients), None)
