"""The types that a person gives to single cells of a tile, in place of those that the cell classifier found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.pipeline.cell_types import CellTypes
from app.pipeline.errors import InvalidCorrections, OtherCells
from app.pipeline.manifest import Manifest
from app.pipeline.types import BoolArray, Int64Array

MAX_CORRECTIONS = 5000
"""Largest number of corrected cells of one tile. Their numbers fit into one line of the audit log."""
MAX_SHOWN = 80
"""Characters of a wrong name that a message repeats."""
FORM = 'corrections must be a JSON object of types with the numbers of their cells, as in {"Plasma cell": [12, 40]}'

CellsByType = Mapping[str, tuple[int, ...]]
"""The numbers of the corrected cells, in rising order, by the name of the type; the names are in order, too."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """The cells of one tile whose type a person has given.

    Attributes:
        cells: at least one cell. Each cell occurs once.
        by: name of the person, 1 to 80 printable characters.
        cells_sha256: what the answer says that the person has looked at; see `cells_sha256`. None if that is not said.
    """

    cells: CellsByType
    by: str
    cells_sha256: str | None = None

    @property
    def number(self) -> int:
        """How many cells were corrected."""
        return sum(len(numbers) for numbers in self.cells.values())


def read_corrections(text: str) -> CellsByType:
    """Return corrections as they are sent: a JSON object of types, each with a list of the numbers of its cells.

    The order of types and cells does not matter, and a type without cells is left out.

    Args:
        text: the JSON.

    Raises:
        InvalidCorrections: it is not such an object, names a cell twice, or names too many.
    """
    try:
        content = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")
        raise InvalidCorrections(f"{FORM}; this is not JSON: {reason} at character {error.pos}.") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise InvalidCorrections(f"{FORM}; this cannot be read.") from error
    return checked_corrections(content)


def checked_corrections(content: object) -> CellsByType:
    """Return corrections in their order, from the value that their JSON stands for.

    Args:
        content: a mapping from names of types to lists of numbers of cells, or anything else.

    Raises:
        InvalidCorrections: it is anything else, names a cell twice, or names too many.
    """
    if not isinstance(content, Mapping):
        raise InvalidCorrections(f"{FORM}; found {_kind(content)}.")
    seen: dict[int, str] = {}
    for name, numbers in content.items():
        if not isinstance(numbers, list | tuple):
            raise InvalidCorrections(f"{FORM}; '{shown(name)}' has {_kind(numbers)} in place of a list of numbers.")
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise InvalidCorrections(
                    f"{FORM}; the list of '{shown(name)}' holds {_kind(number)}, and numbers of cells are whole and "
                    "count from 0."
                )
            if number in seen:
                twice = f"both '{shown(seen[number])}' and " if seen[number] != name else "twice "
                raise InvalidCorrections(
                    f"corrections name cell {number} {twice}'{shown(name)}'; a cell has one type, and is named once."
                )
            seen[number] = name
    if len(seen) > MAX_CORRECTIONS:
        raise InvalidCorrections(f"corrections may name at most {MAX_CORRECTIONS} cells of a tile, found {len(seen)}.")
    return {name: tuple(sorted(content[name])) for name in sorted(content) if content[name]}


def check_known(names: Collection[str], manifest: Manifest) -> None:
    """Check that a bundle knows the types of corrections.

    Args:
        names: names of the types.
        manifest: the bundle's.

    Raises:
        InvalidCorrections: it knows no types at all, or not these.
    """
    classifier = manifest.cell_classifier
    if classifier is None:
        raise InvalidCorrections(
            f"The bundle {manifest.name} knows no types of cells, so no type can be corrected; leave corrections out, "
            "or name a bundle that people have taught types."
        )
    known = [one.name for one in classifier.types]
    listed = ", ".join(f"'{name}'" for name in known)
    for name in names:
        if name not in known:
            raise InvalidCorrections(
                f"The bundle {manifest.name} knows no type '{shown(name)}'; its types are {listed}."
            )


def cells_sha256(tile: str, bundle: str, bboxes: Int64Array) -> str:
    """Return what tells whether the numbers of cells, and their types, are still those that somebody has looked at.

    It changes with the file of the tile, with anything in the bundle, and with any cell that is found, moved or lost:
    because of another scale, other nuclei, or a version of the program that seeks them otherwise.

    Args:
        tile: hex digest of the upload.
        bundle: hex digest of the bundle's manifest.
        bboxes: (N, 4) int64, the boxes of the nuclei in the order of their numbers, in px of the analysed tile.

    Returns:
        64 hexadecimal digits.
    """
    return hashlib.sha256(f"{tile}/{bundle}/".encode() + bboxes.astype("<i8").tobytes()).hexdigest()


def check_cells(given: Corrections, found: str, manifest: Manifest) -> None:
    """Check that corrections were made on the cells that were found, if they say on which.

    Args:
        given: the corrections.
        found: see `cells_sha256`.
        manifest: the bundle's.

    Raises:
        OtherCells: they were made on others.
    """
    if given.cells_sha256 not in {None, found}:
        raise OtherCells(
            f"The corrections were made on another answer, as its cells_sha256 says, and cell {_first(given)} may be "
            f"another cell now. Either the bundle {manifest.name} was changed since, as when it is taught again, or "
            "this is another tile, mpp or file of nuclei. Analyse the tile again without corrections, look at its "
            "cells, and send the cells_sha256 of that answer. Nothing was corrected."
        )


def _first(given: Corrections) -> int:
    return min(number for numbers in given.cells.values() for number in numbers)


def correct(found: CellTypes, given: Corrections, outlier: BoolArray, manifest: Manifest) -> CellTypes:
    """Return the types of the cells with those that a person has given, of which there is no doubt.

    Args:
        found: the types of N cells.
        given: the corrections.
        outlier: (N,) bool, which cells no type counts.
        manifest: the bundle's, whose classifier found the types.

    Raises:
        InvalidCorrections: there is no such type or cell, or a cell is an outlier.
    """
    check_known(given.cells, manifest)
    places = {one.name: t for t, one in enumerate(manifest.cell_classifier.types if manifest.cell_classifier else ())}
    n_cells = len(found.types)
    types, probabilities, corrected = found.types.copy(), found.probabilities.copy(), np.zeros(n_cells, bool)
    for name, numbers in given.cells.items():
        for number in numbers:
            if number >= n_cells:
                cells = f"its cells are 0 to {n_cells - 1}" if n_cells else "no cell was found in it"
                raise InvalidCorrections(f"There is no cell {shown(str(number))} in this tile: {cells}.")
            if outlier[number]:
                raise InvalidCorrections(f"Cell {number} is an outlier, which no type counts; it cannot be corrected.")
        rows = list(numbers)
        types[rows], probabilities[rows], corrected[rows] = places[name], 0.0, True
        probabilities[rows, places[name]] = 1.0
    return replace(found, probabilities=probabilities, types=types, corrected=corrected)


def shown(text: str) -> str:
    """Return the beginning of a text that a client sent; what UTF-8 cannot represent is escaped."""
    return text[:MAX_SHOWN].encode(errors="backslashreplace").decode()


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidCorrections(f"corrections have '{shown(twice)}' twice; give each type one list of its cells.")
    return found


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text '{shown(value)}'"
    if value is None or isinstance(value, bool | int | float):
        return shown(json.dumps(value))
    return "an object" if isinstance(value, Mapping) else "a list"
