"""Sections on features of cells: Table I, with few named cells, and how much they tell of the tile."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from statistics import mean, stdev

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
from training.study.systems.cell_systems import CEILINGS, DESCRIBERS, LazySystem

CLASSIFICATION_COLUMNS = [
    Column("f1", "F", best="highest"),
    Column("macro_f1", "macro F", best="highest"),
    Column("precision", "precision", best="highest"),
    Column("recall", "recall", best="highest"),
    Column("dimensions", "dimensions", ".0f"),
    Column("seconds", "s", ".0f"),
]

CLASSIFICATION = """## Classification of cells (Table I)

Data: {data}. A fifth of the tiles, drawn by the seed of the split, is tested on.
Command: `python -m training evaluate classification runs/crchisto runs/consep docs/results` (the sets are made as for
the clusters of cells)

Features are learned from the cells of the training tiles without types. A linear SVM with L2 penalty then learns these
cells' types from the standardised features; its C (.01, .1 or 1 over the number of features) is chosen on a quarter of
the training tiles. Precision, recall and F are weighted by support; macro F is the plain mean over the types, so a rare
type counts as much as a common one. The paper splits cells at random; here all cells of a tile stay on one side of the
split. Our features are the mean and the standard deviation of each channel of each map of the encoder, on average over
the four turns of a cell; the service gives the means of the last map alone. That all maps are read was chosen on splits
0 to 3 of `crchisto`, so that figures for these are tuned. The encoder learns for ten epochs. The rivals see the nucleus
alone, but for the one whose name says that it sees the surroundings as well.

Tiles hold different types, so F differs more between splits than between systems. All systems therefore have the same
splits, and the second table compares each with the best other one split by split: the mean of the differences ± its
standard error. Splits share tiles, so the true uncertainty is larger than this standard error.

"""
CEILING = """
The last row is no rival: the encoder of the configuration `cpu` was trained, in the same views, with the types of the
training cells, and the SVM learns from its features. It says what this network can tell if it is told what to look for.
"""
PUBLISHED_CLASSIFICATION = """
Published, and not measured here: the paper's Table I on its set A, whose types are not public: F .811 (MF), .827 (DNN,
ResNet-50), .857 (the paper's method).
"""
FEW_LABELS = """## Few named cells

Data and splits are those of Table I. Command: `python -m training evaluate few-labels runs/crchisto runs/consep
docs/results`

Features are learned from all cells of the training tiles without types, and standardised over them. The SVM of Table I
then learns from a few of these cells: as many of each type, or all cells of a type that has fewer. Each split has its
own draw, the same for every system, and the C of the SVM is chosen on the named cells alone. How many cells does a
person have to name?

"""
SITE_COLUMNS = [
    Column("tile", "tile", best="lowest"),
    Column("type", "type", best="highest"),
    Column("seconds", "s", ".0f"),
]
SITE = """## Do features know the tile?

Data are those of Table I. Command: `python -m training evaluate site runs/crchisto runs/consep docs/results`

Features that tell which tile a cell comes from hold its stain, and may mislead on the tile of another laboratory. They
are learned from all cells without types. The cells of each tile are then split in halves at random, five times. A
linear discriminant learns from one half to tell the tile, or the type, and is tested on the other half. Figures are
balanced accuracies, in which every tile and every type counts alike. Because both halves have the same tiles, knowing
the tile helps to tell the type here; Table I, on other tiles, says what features are worth. Types differ between tiles,
so features of the type alone tell something of the tile too.

"""


def classification(records: list[Record]) -> str:
    """Return the section on what `evaluate_classification` recorded."""
    sets = group_by(records, "set")
    data = ", ".join(
        f"`{name}` ({fits[0]['training_cells'] + fits[0]['test_cells']} cells)" for name, fits in sets.items()
    )
    text = CLASSIFICATION.format(data=data) + describe_fits(records, "split") + remarks(records, DESCRIBERS)
    for name, fits in sets.items():
        systems = _by_system(fits)
        rows = {(title,): list(splits.values()) for title, splits in systems.items()}
        told = {(title,): list(splits.values()) for title, splits in _by_system(fits, CEILINGS).items()}
        differences = {
            "F less that of the best other": _differences(systems, "f1"),
            "macro F less that of the best other": _differences(systems, "macro_f1"),
        }
        compared = {(title,): {heading: of[title] for heading, of in differences.items()} for title in systems}
        text += f"\n### `{name}`, types from features\n\n"
        text += spread_table(("features",), rows, CLASSIFICATION_COLUMNS)
        # No best figure is looked for among these.
        text += "".join(_rows_alone({title: of}) for title, of in told.items()) + (CEILING if told else "")
        text += "\n" + table(("features",), compared, dict.fromkeys(differences, ""))
    return text + PUBLISHED_CLASSIFICATION + "\n"


def few_labels(records: list[Record]) -> str:
    """Return the section on what `evaluate_few_labels` recorded: F by the number of named cells of each type."""
    numbers = sorted({int(name.removeprefix("f1_")) for record in records for name in record if name.startswith("f1_")})
    text = FEW_LABELS + describe_fits(records, "split") + remarks(records, DESCRIBERS)
    for name, fits in group_by(records, "set").items():
        rows = {(title,): list(splits.values()) for title, splits in _by_system(fits).items()}
        for figure, title in (("f1", "F"), ("macro_f1", "macro F")):
            columns = [Column(f"{figure}_{number}", f"{number} of each", best="highest") for number in numbers]
            text += f"\n### `{name}`, {title} by the number of named cells\n\n"
            text += spread_table(("features",), rows, columns)
    return text + "\n"


def site(records: list[Record]) -> str:
    """Return the section on what `evaluate_site` recorded."""
    text = SITE + describe_fits(records) + remarks(records, DESCRIBERS)
    for name, fits in group_by(records, "set").items():
        by_system = group_by(fits, "system")
        rows = {(DESCRIBERS[system].title,): by_system[system] for system in DESCRIBERS if system in by_system}
        cells, tiles, types = (fits[0][number] for number in ("cells", "tiles", "types"))
        text += f"\n### `{name}`, tile and type from features\n\n"
        text += f"{cells} cells of {tiles} tiles and {types} types: chance is {1 / tiles:.3f} and {1 / types:.3f}.\n\n"
        text += spread_table(("features",), rows, SITE_COLUMNS)
    return text + "\n"


def _rows_alone(rows: dict[tuple[str], list[Record]]) -> str:
    """Return the rows of a table without its head."""
    return "".join(spread_table(("features",), rows, CLASSIFICATION_COLUMNS).splitlines(keepends=True)[2:])


def _by_system(fits: list[Record], systems: dict[str, LazySystem] = DESCRIBERS) -> dict[str, dict[int, Record]]:
    """Return the figures of each split, as means over the seeds of a system, by the title of the system."""
    by_system = group_by(fits, "system")
    return {
        systems[system].title: {
            split: _mean(of_split) for split, of_split in sorted(group_by(by_system[system], "split").items())
        }
        for system in systems
        if system in by_system
    }


def _mean(records: list[Record]) -> Record:
    """Return the mean of each number over the records that hold it."""
    numbers = {
        name: [record[name] for record in records if name in record]
        for record in records
        for name, value in record.items()
        if isinstance(value, int | float)
    }
    return {name: mean(values) for name, values in numbers.items()}


def _differences(systems: dict[str, dict[int, Record]], figure: str) -> dict[str, str]:
    """Return in words by how much each system is better than the best other one, over the splits that both have."""
    measured = {
        title: {split: record[figure] for split, record in splits.items() if figure in record}
        for title, splits in systems.items()
    }
    written = {}
    for title, own in measured.items():
        others = {other: mean(values.values()) for other, values in measured.items() if values and other != title}
        best = max(others, key=others.__getitem__, default=None)
        pairs = [] if best is None else [own[split] - measured[best][split] for split in own.keys() & measured[best]]
        written[title] = f"{_with_error(pairs)} ({best})" if pairs else NOT_MEASURED
    return written


def _with_error(differences: Iterable[float]) -> str:
    """Return the mean of paired differences ± its standard error; a single difference has none."""
    values = list(differences)
    error = f" ± {stdev(values) / sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{mean(values):+.3f}{error}"
