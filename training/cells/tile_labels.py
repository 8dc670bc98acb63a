"""labels.csv: which tiles of a folder are normal, which are abnormal, and which are of the same patient."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from app.pipeline.types import Int64Array
from training.errors import LabelsError

LABELS_CSV = "labels.csv"
LABELS = ("normal", "abnormal")
"""A label's number is its place here: 0 = normal, 1 = abnormal."""
MIN_PER_LABEL = 4
"""Smallest number of tiles of each label and, if patients are known, of patients with such tiles.

It is the number of folds that the label is tested in, each without its own tiles.
"""
DELIMITERS = ",;\t"
"""Spreadsheets separate columns by one of these, depending on the country."""


@dataclass(frozen=True)
class TileLabels:
    """Labels of T tiles, in the tiles' order.

    Attributes:
        abnormal: (T,) int64, 1 = abnormal, 0 = normal.
        patients: (T,) int64, the same number for tiles of the same patient; None if the patients are not known. The
            names of the patients are not kept.
    """

    abnormal: Int64Array
    patients: Int64Array | None

    def only(self, chosen: Int64Array) -> TileLabels:
        """Return the labels of the tiles with these indices."""
        return TileLabels(self.abnormal[chosen], None if self.patients is None else self.patients[chosen])

    def counts(self) -> dict[str, int]:
        """Return the number of tiles of each label."""
        return count_labels(self.abnormal)

    @property
    def n_patients(self) -> int | None:
        """The number of patients, None if it is not known."""
        return None if self.patients is None else len(np.unique(self.patients))

    def as_arrays(self) -> dict[str, Any]:
        """Return the arrays by name, to be stored beside other arrays; `from_arrays` reads them."""
        arrays = {"label_abnormal": self.abnormal}
        return arrays if self.patients is None else {**arrays, "label_patients": self.patients}

    @classmethod
    def from_arrays(cls, stored: Mapping[str, np.ndarray]) -> TileLabels | None:
        """Return the labels whose arrays, from `as_arrays`, are among the stored ones; None if there are none."""
        if "label_abnormal" not in stored:
            return None
        return cls(stored["label_abnormal"], stored.get("label_patients"))


def count_labels(abnormal: Int64Array) -> dict[str, int]:
    """Return how many of (T,) tiles, 1 = abnormal, have each label."""
    return {name: int((abnormal == number).sum()) for number, name in enumerate(LABELS)}


def check_enough(labels: TileLabels, source: str) -> None:
    """Check that each label has MIN_PER_LABEL tiles and, if patients are known, as many patients.

    Args:
        labels: of the tiles that can be used.
        source: where the labels come from; the error begins with it.

    Raises:
        LabelsError: a label has fewer.
    """
    for number, name in enumerate(LABELS):
        own = labels.abnormal == number
        found = {"tiles": int(own.sum())}
        if labels.patients is not None:
            found["patients with such tiles"] = len(np.unique(labels.patients[own]))
        for what, count in found.items():
            if count < MIN_PER_LABEL:
                raise LabelsError(
                    f"{source}: '{name}' needs at least {MIN_PER_LABEL} {what}, found {count} "
                    f"(the label is tested in {MIN_PER_LABEL} parts, each left out in turn)."
                )


def read_labels(path: Path, tiles: Sequence[Path]) -> TileLabels:
    """Read the labels of tiles: a header `tile,label` or `tile,label,patient`, and a row for each tile.

    Args:
        path: CSV in UTF-8, separated by commas, semicolons or tabs. A tile is named by its file, with or without the
            suffix; its label is `normal` or `abnormal`, in upper or lower case.
        tiles: T files.

    Returns:
        The labels of the T tiles, in the order of `tiles`.

    Raises:
        LabelsError: the file cannot be read; a column, a tile, a label or a patient is missing, unknown or given twice;
            or a label has too few tiles. The error names the file and, if there is one, the row.
    """
    found: dict[int, tuple[int, dict[str, str]]] = {}
    for number, row in _read_rows(path):
        place = f"{path}, row {number}"
        tile = _find(row["tile"], tiles, place)
        if tile in found:
            raise LabelsError(f"{place}: the tile {tiles[tile].name} is already in row {found[tile][0]}.")
        if row["label"].lower() not in LABELS:
            raise LabelsError(f"{place}: the label must be {' or '.join(LABELS)}, found '{row['label']}'.")
        if row.get("patient") == "":
            raise LabelsError(f"{place}: there is no patient; name one in each row, or leave the column out.")
        found[tile] = number, row
    if without := [tile.name for i, tile in enumerate(tiles) if i not in found]:
        more = f" and {len(without) - 1} more tiles" if without[1:] else ""
        raise LabelsError(f"{path}: there is no row for {without[0]}{more}.")
    rows = [found[i][1] for i in range(len(tiles))]
    abnormal = np.array([LABELS.index(row["label"].lower()) for row in rows], dtype=np.int64)
    patients = None
    if "patient" in rows[0]:
        patients = np.unique([row["patient"] for row in rows], return_inverse=True)[1].astype(np.int64)
    labels = TileLabels(abnormal, patients)
    check_enough(labels, str(path))
    return labels


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows that are not empty: their numbers, as a spreadsheet shows them, and their values by column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(DELIMITERS, key=head.count)
        header, *lines = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if text.strip() else [[]]
    except OSError as error:
        raise LabelsError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise LabelsError(f"{path} is not text in UTF-8; save it as 'CSV UTF-8'.") from error
    except csv.Error as error:
        raise LabelsError(f"{path} is not a CSV file: {error}.") from error
    columns = [name.strip().lower() for name in header]
    if sorted(filter(None, columns)) not in (["label", "tile"], ["label", "patient", "tile"]):
        given = ", ".join(filter(None, columns)) or "none"
        raise LabelsError(f"{path}, row 1: the columns must be tile, label and, if known, patient; found: {given}.")
    rows = []
    for number, line in enumerate(lines, start=2):
        values = [value.strip() for value in line]
        if any(values):
            values += [""] * (len(columns) - len(values))
            rows.append((number, dict(zip(columns, values, strict=False))))
    return rows


def _find(name: str, tiles: Sequence[Path], place: str) -> int:
    """Return the index of the tile with this file name, or else with this file name without its suffix."""
    # The same accented name may be encoded differently on the disk and in the table.
    wanted = normalize("NFC", name)
    exact = [i for i, tile in enumerate(tiles) if normalize("NFC", tile.name) == wanted]
    matches = exact or [i for i, tile in enumerate(tiles) if normalize("NFC", tile.stem) == wanted]
    if not matches:
        raise LabelsError(f"{place}: there is no tile '{name}' in {tiles[0].parent}.")
    if len(matches) > 1:
        names = " or ".join(tiles[i].name for i in matches)
        raise LabelsError(f"{place}: '{name}' may be {names}; name it with its suffix.")
    return matches[0]
