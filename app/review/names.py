"""Cell types and the names that reviewers give to cells: what is allowed, what most say, and how far two agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from app.pipeline.cell_classifier import Lineage
from app.pipeline.errors import InvalidParameter
from app.review.named_cells import IGNORED_MARK

MAX_TYPE, MAX_PERSON, MAX_TITLE = 60, 80, 200
"""Characters of the name of a type, of a reviewer, and of a tile or group."""
MAX_TYPES = 32
ANYBODY = "reviewer"
"""The reviewer where nobody says a name."""
RESERVED = re.compile(r"(outlier|no type|cluster \d+)", re.IGNORECASE)
"""Names that answers give to cells without a type; a type of that name could not be told from them."""


@dataclass(frozen=True, slots=True)
class NamedType:
    """A cell type that people have named.

    Attributes:
        name: 1 to 60 printable characters.
        color: "#rrggbb".
        lineage: whether it counts for the ratio of myeloid to erythroid cells, and where.
    """

    name: str
    color: str
    lineage: Lineage | None = None


SUGGESTIONS = (
    NamedType("Erythroid precursor", "#d55e00", "erythroid"),
    NamedType("Promyelocyte or blast", "#0072b2", "myeloid"),
    NamedType("Maturing granulocyte", "#56b4e9", "myeloid"),
    NamedType("Lymphocyte", "#009e73"),
    NamedType("Plasma cell", "#cc79a7"),
    NamedType("Monocyte", "#f0e442"),
    NamedType("Megakaryocyte", "#000000"),
    NamedType("Stromal cell", "#e69f00"),
    NamedType("Not a cell", "#999999"),
)
"""The types of a differential count (after WHO and ICSH), as suggestions; no bundle knows them by itself."""


FURTHER_COLORS = ("#88ccee", "#aa4499", "#117733", "#882255", "#ddcc77", "#332288", "#44aa99", "#cc6677", "#661100")
"""Colours of further types (Tol's muted scheme); after them, colours repeat."""


@dataclass(frozen=True, slots=True)
class CellName:
    """What a reviewer named a cell.

    Attributes:
        cell: id of the cell.
        reviewer: who named it.
        type: name of the type.
        when: UTC.
    """

    cell: str
    reviewer: str
    type: str
    when: datetime


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two reviewers agree on the cells that both have named.

    Attributes:
        reviewers: their names.
        n_cells: how many cells both have named.
        n_same: how many of them both gave the same type.
        kappa: Cohen's κ (1960), at most 1; None where both gave one and the same type to all cells, or named none.
    """

    reviewers: tuple[str, str]
    n_cells: int
    n_same: int
    kappa: float | None


def checked_text(text: str, what: str, longest: int) -> str:
    """Return a name without the blanks round it.

    Args:
        text: as somebody gave it.
        what: what it names, as the beginning of a sentence.
        longest: largest number of characters.

    Raises:
        InvalidParameter: it is empty or too long, or holds what is not printable.
    """
    found = text.strip()
    if not 1 <= len(found) <= longest:
        raise InvalidParameter(f"{what} must have 1 to {longest} characters, found {len(found)}.")
    if not found.isprintable():
        raise InvalidParameter(f"{what} must be one line of printable characters, found {found[:longest]!a}.")
    return found


def checked_type(name: str) -> str:
    """Return the name of a cell type without the blanks round it.

    Raises:
        InvalidParameter: it cannot be the name of a type.
    """
    # QuPath takes a colon for the end of the name of a type that this one is derived from.
    parts = filter(None, (part.strip() for part in name.split(":")))
    found = checked_text(": ".join(parts), "The name of a cell type", MAX_TYPE)
    # A table program takes such a cell for a formula.
    if found[0] in "=+-@" or found.endswith(IGNORED_MARK):
        raise InvalidParameter(
            "The name of a cell type must not begin with =, +, - or @, nor end in *, which QuPath ignores; found "
            f"'{found}'."
        )
    if RESERVED.fullmatch(found):
        raise InvalidParameter(f"A cell type cannot be called '{found}': answers call cells without a type so.")
    return found


def check_types(types: Sequence[NamedType]) -> None:
    """Check a list of types.

    Raises:
        InvalidParameter: it is too long, or two types have the same name or differ in capitals alone.
    """
    if len(types) > MAX_TYPES:
        raise InvalidParameter(f"There may be at most {MAX_TYPES} cell types, found {len(types)}.")
    twice = [name for name, times in Counter(one.name.casefold() for one in types).items() if times > 1]
    if twice:
        named = next(one.name for one in types if one.name.casefold() == twice[0])
        raise InvalidParameter(f"Each cell type needs a name of its own, found '{named}' more than once.")


def unused_color(types: Iterable[NamedType]) -> str:
    """Return a colour that none of some types has; one that some have if all are used."""
    colors = [*(one.color for one in SUGGESTIONS), *FURTHER_COLORS]
    used = Counter(one.color for one in types)
    return min(colors, key=lambda color: used[color])


def majority(names: Iterable[CellName]) -> dict[str, str]:
    """Return the type of every named cell: the one that most reviewers gave, and of several the one given last."""
    of_cell: dict[str, list[CellName]] = {}
    for name in names:
        of_cell.setdefault(name.cell, []).append(name)
    return {cell: _majority(given) for cell, given in of_cell.items()}


def _majority(given: Sequence[CellName]) -> str:
    votes = Counter(name.type for name in given)
    return max(given, key=lambda name: (votes[name.type], name.when, name.reviewer)).type


def disagreed(names: Iterable[CellName]) -> set[str]:
    """Return the cells to which reviewers gave different types."""
    types: dict[str, set[str]] = {}
    for name in names:
        types.setdefault(name.cell, set()).add(name.type)
    return {cell for cell, found in types.items() if len(found) > 1}


def agreements(names: Iterable[CellName]) -> list[Agreement]:
    """Return how far each two reviewers agree who have named a cell in common, in the order of their names."""
    of_reviewer: dict[str, dict[str, str]] = {}
    for name in names:
        of_reviewer.setdefault(name.reviewer, {})[name.cell] = name.type
    found = (_agreement(pair, of_reviewer) for pair in combinations(sorted(of_reviewer), 2))
    return [agreement for agreement in found if agreement.n_cells]


def _agreement(pair: tuple[str, str], of_reviewer: Mapping[str, Mapping[str, str]]) -> Agreement:
    first, second = (of_reviewer[reviewer] for reviewer in pair)
    both = first.keys() & second.keys()
    same = sum(first[cell] == second[cell] for cell in both)
    return Agreement(pair, len(both), same, kappa([(first[cell], second[cell]) for cell in both]))


def kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's κ: the share of cells on which two agree, beyond what their habits alone would give.

    Args:
        pairs: for each cell the types that both gave.

    Returns:
        At most 1; None where chance alone would give full agreement, or where there is no cell.
    """
    if not pairs:
        return None
    n = len(pairs)
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    by_chance = sum(count * seconds[name] for name, count in firsts.items()) / n**2
    observed = sum(first == second for first, second in pairs) / n
    return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else None
