"""Which slide is of which patient: a CSV table that somebody made."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

COLUMNS = ("slide", "patient")


class PatientsError(ValueError):
    """The table cannot be used; the text says why."""


def read_patients(path: Path) -> dict[str, str]:
    """Read the table.

    Args:
        path: CSV in UTF-8 with the columns slide (id in the run, file name, or that without its ending) and patient;
            others are passed over.

    Returns:
        Patient by slide, as they stand there.

    Raises:
        PatientsError: the file cannot be read, is no such table, or gives one slide to two patients.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PatientsError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise PatientsError(f"{path.name} must be a table (CSV) in UTF-8.") from error
    # A field may hold line breaks of its own.
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
        slide, patient = ((row[name] or "").strip() for name in COLUMNS)
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
    """Whose a slide is.

    Args:
        patients: `read_patients`.
        slide: id in the run.
        file: name of its file.

    Returns:
        By its id, else its file's name, else that without its ending; None: the table does not say.
    """
    return next((patients[name] for name in (slide, file, Path(file).stem) if name in patients), None)
