"""The section on how many actions of a reviewer it takes to teach cell types."""

from __future__ import annotations

from statistics import median

from training.study.report.tables import (
    NOT_MEASURED,
    Column,
    Record,
    describe_fits,
    group_by,
    remarks,
    spread_table,
    table,
)
from training.study.systems.cell_systems import DESCRIBERS

BY_GROUPS = "groups"
WAYS = {BY_GROUPS: "by groups", "one-by-one": "one by one", "doubtful-first": "one by one, doubtful first"}
FIGURES = {"f1": "F", "macro_f1": "macro F"}

TEACH = """## Naming cells by groups

Data and splits are those of Table I. Command: `python -m training evaluate teach runs/crchisto runs/consep
docs/results`

How much work is it to teach cell types? **The reviewer is simulated**: it sees the true type of each cell, knows the
types beforehand, and never errs. A person errs, hesitates and tires, and perhaps more so before a wall of cells than
before a single one; that is not measured here.

An action is one naming of any number of selected cells: select them, press a key. Selecting is not counted as an
action. The number of named cells is therefore given too: it is the number of cells that have to be clicked, if every
cell is clicked singly; with dragging and shift, fewer clicks do.

- **By groups**: walls of up to 40 random cells of one cluster are shown, as on the page, the clusters in turn. All
  cells of the commonest type of a wall are named by one action, those of each other type by another.
- **One by one**: random cells of the training tiles; every cell is an action.
- **One by one, doubtful first**: the same, but the cell comes next that the classifier doubts most.

The features, and the clusters of ours, are learned from all cells of the training tiles without types; for features
without clusters of their own, k-means makes five. Features of more than 256 dimensions are reduced to their first 256
principal axes. The classifier is the service's own, with its default choices; it learns from the features of a cell and
of its neighbours among the typed cells, because these sets have no measurements. Types of which fewer than five cells
are named are left out, as in the service, and as long as nothing can be taught, every cell gets the type named most
often. On the test tiles, no cell is left without a type. The classifier that says which cells are doubtful learns anew
each time half as many cells more are named; the page lets it learn sooner.

"All" is the F of the same classifier when all cells of the training tiles are named. The last tables of a set say after
how many actions 90 % of it are reached for the first time, and how many cells are named by then: the median over the
splits, in brackets the lowest and the highest, interpolated between the numbers of actions at which F is measured.
"More" means that the largest of these was not enough. The ratio is that of the medians, one by one to by groups.
Wanted: at most 100 actions, and at least 5 times fewer than one by one.

"""


def teach(records: list[Record]) -> str:
    """Return the section on what `evaluate_teach` recorded."""
    # In the order of the systems and ways.
    rows = {
        (system, way): found
        for system in DESCRIBERS
        for way in WAYS
        if (found := [record for record in records if (record["system"], record["way"]) == (system, way)])
    }
    numbers = sorted({int(name.removeprefix("f1_")) for record in records for name in record if name.startswith("f1_")})
    text = TEACH + describe_fits(records, "split") + remarks(records, DESCRIBERS)
    for name in group_by(records, "set"):
        of_set = {key: own for key, found in rows.items() if (own := [one for one in found if one["set"] == name])}
        titled = {(DESCRIBERS[system].title, WAYS[way]): found for (system, way), found in of_set.items()}
        for figure, title in FIGURES.items():
            columns = [Column(f"{figure}_{number}", str(number)) for number in numbers]
            text += f"\n### `{name}`, {title} by the number of actions\n\n"
            text += spread_table(("features", "way"), titled, [*columns, Column(f"full_{figure}", "all")])
        text += f"\n### `{name}`, named cells by the number of actions\n\n"
        grouped = {key: found for key, found in titled.items() if key[1] == WAYS[BY_GROUPS]}
        text += spread_table(("features", "way"), grouped, [Column(f"cells_{n}", str(n), ".0f") for n in numbers])
        for figure, title in FIGURES.items():
            text += f"\n### `{name}`, 90 % of the {title} of all cells\n\n"
            text += _to_reach(of_set, figure, numbers[-1])
    return text + "\n"


def _to_reach(rows: dict[tuple[str, str], list[Record]], figure: str, most: int) -> str:
    """Return the table of what it takes to reach the wanted share of a figure within `most` actions."""
    written = {}
    for (system, way), found in rows.items():
        groups = rows.get((system, BY_GROUPS), [])
        written[DESCRIBERS[system].title, WAYS[way]] = {
            "actions": _spread(found, f"actions_to_{figure}"),
            "named cells": _spread(found, f"cells_to_{figure}"),
            "ratio": NOT_MEASURED if way == BY_GROUPS else _ratio(found, groups, f"actions_to_{figure}", most),
        }
    return table(("features", "way"), written, dict.fromkeys(("actions", "named cells", "ratio"), ""))


def _spread(records: list[Record], name: str) -> str:
    """Return the median (lowest to highest) of a number over the splits; the number is absent where it is above all."""
    numbers = [record.get(name, float("inf")) for record in records]
    middle, lowest, highest = (_number(number) for number in (median(numbers), min(numbers), max(numbers)))
    return f"{middle} ({lowest} to {highest})" if len(numbers) > 1 else middle


def _number(number: float) -> str:
    return "more" if number == float("inf") else f"{number:.0f}"


def _ratio(one_by_one: list[Record], groups: list[Record], name: str, most: int) -> str:
    """Return how many times more actions it takes one by one, of the splits that both have; most is a lower bound."""
    common = {(one["split"], one["seed"]) for one in one_by_one} & {(one["split"], one["seed"]) for one in groups}
    if not common:
        return NOT_MEASURED
    singly, together = (
        median(one.get(name, float("inf")) for one in found if (one["split"], one["seed"]) in common)
        for found in (one_by_one, groups)
    )
    if together == float("inf"):
        return NOT_MEASURED
    return f"> {most / together:.1f}" if singly == float("inf") else f"{singly / together:.1f}"
